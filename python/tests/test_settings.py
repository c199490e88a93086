"""Settings: every key, default and range is the core's."""

from __future__ import annotations

import ast
import inspect
import pathlib
from decimal import Decimal
from fractions import Fraction
from typing import Any

import failsoft
import pytest
from failsoft import Router, _failsoft, blocking
from failsoft._config import Config

#: What Python adds: a value that is no text. By `decode_responses` the types differ, so it is no key of `Config`.
OWN = {"tls"}
NODES = ["127.0.0.1:1"]


def test_the_keys_and_defaults_are_the_cores() -> None:
    settings = _failsoft.settings()
    assert set(Config.__annotations__) == set(settings) | OWN
    for router in (Router, blocking.Router):
        signature = inspect.signature(router)
        assert set(signature.parameters) == set(settings) | OWN | {"nodes", "decode_responses"}
        assert signature.parameters["deadline"].default == 1.0
    for key, (default, _allowed) in settings.items():
        value: Any = default
        Router(NODES, **{key: value})
    assert settings["deadline"] == (1.0, "1 ms to 1 h") and settings["address_map"][0] is None


def test_no_default_is_written_in_python() -> None:
    folder = pathlib.Path(failsoft.__file__).parent
    names = set(_failsoft.settings())
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
                assert node.arg not in names, f"{file}: a value for {node.arg}"
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                set_here = {t.id for t in targets if isinstance(t, ast.Name)} & names
                assert node.value is None or not set_here, f"{file}: a value for {set_here}"


@pytest.mark.parametrize("router", [Router, blocking.Router])
def test_bad_settings_are_named(router: type[Any]) -> None:
    for key, value, problem in [
        ("dead_line", 1, "no such key; allowed: deadline"),
        ("deadline", -1.0, "out of range; allowed: 1 ms to 1 h"),
        ("deadline", "1s", "is not a duration"),
        ("fill", 3, "is not a boolean"),
        ("max_retries", 11, "allowed: 0 to 10"),
        ("deadline", 10**400, "an int out of range is not a setting; allowed: 1 ms to 1 h"),
        ("class", object(), "no such key; allowed: max_retries, .*, tls, decode_responses$"),
        ("max_retries", 10**30, "an int of that size is out of range; allowed: 0 to 10"),
        ("max_retries", {1: 2}, "dict is not a setting; allowed: 0 to 10"),
        ("max_retries", type("", (), {})(), "object of a class without a name is not a setting; allowed: 0 to 10"),
        (
            "client_name",
            "\ud800",
            "a str with a lone surrogate, which has no UTF-8 is not a setting; allowed: 1 to 128",
        ),
        ("deadline", 1e300, "1e303 ms is out of range; allowed: 1 ms"),
        ("max_retries", object(), "object is not a setting; allowed: 0 to 10"),
        ("address_map", {"a:": "b"}, "address"),
        ("address_map", {"a:1": 2}, "a dict of something else than str is not a setting; allowed: at most"),
        ("invalidate_durability", "some", '"some" is not allowed; allowed: primary, replica or all'),
        ("invalidate_durability", 1, "is not a text; allowed: primary, replica or all"),
        ("decode_responses", "yes", "allowed: true or false"),
        ("tls", 3, "allowed: true or false"),
        ("password", "", "1 to 65536"),
    ]:
        with pytest.raises(failsoft.ConfigError, match=problem) as wrong:
            router(NODES, **{key: value})
        assert wrong.value.key == key and isinstance(wrong.value, ValueError) and wrong.value.code == "CONFIG"
    with pytest.raises(failsoft.ConfigError, match=r"no such key; allowed: max_retries, "):
        router(NODES, **{"\ud800": 1})
    for nodes in (
        [],
        ["nowhere:"],
        3,
        None,
        [None],
        [b"host:1"],
        b"host:1",
        "\ud800",
        ["\ud800"],
        ["redis://user:secret@host:7000/3"],
    ):
        with pytest.raises(failsoft.ConfigError) as wrong:
            router(nodes)
        assert wrong.value.key == "nodes" and "secret" not in str(wrong.value)


def test_a_number_is_whatever_python_takes_for_one() -> None:
    half: Any
    for half in (Decimal("0.5"), Fraction(1, 2)):
        with blocking.Router(NODES, deadline=half, ttl_jitter=half) as router:
            assert router.get_with_fallback("k", str, ttl=half, deadline=half) == b"k"


def test_every_form_of_a_setting_is_taken() -> None:
    assert "nodes=127.0.0.1:1,localhost:2 " in repr(Router("127.0.0.1:1, localhost:2"))
    Router("127.0.0.1:1", max_retries=0, deadline=1, ttl_jitter=0, fill=False, password=None)
    Router(NODES, address_map={"127.0.0.1:1": "127.0.0.1:2"})
    assert "nodes=127.0.0.1:1,127.0.0.1:2 " in repr(Router(f"127.0.0.1:{i}" for i in (1, 2)))
    Router(tuple(NODES), address_map=["127.0.0.1:1=127.0.0.1:2"], tls=True)
    Router(NODES, tls=failsoft.Tls(server_name="cache", danger_accept_invalid_certs=True))
    nothing: list[bytes | str] = [b"nothing", "nothing"]
    for pem in nothing:
        with pytest.raises(failsoft.ConfigError, match="tls"):
            Router(NODES, tls=failsoft.Tls(ca_pem=pem))
    number: Any = 3
    wrongs: list[tuple[dict[str, Any], str, str]] = [
        ({"client_key_pem": b"key"}, "client_cert_pem", "is missing; allowed: .* together, or neither"),
        ({"client_cert_pem": "chain"}, "client_key_pem", "is missing; allowed: .* together, or neither"),
        ({"server_name": "\ud800"}, "server_name", "a str with a lone surrogate, .*; allowed: str, a host's name"),
        ({"server_name": number}, "server_name", "int; allowed: str, a host's name"),
        ({"danger_accept_invalid_certs": number}, "danger_accept_invalid_certs", "allowed: true or false"),
    ]
    for arguments, key, problem in wrongs:
        with pytest.raises(failsoft.ConfigError, match=problem) as bad:
            failsoft.Tls(**arguments)
        assert bad.value.key == key
    for argument in ("ca_pem", "client_cert_pem", "client_key_pem"):
        with pytest.raises(failsoft.InvalidArgument, match="int; allowed: bytes, str") as wrong:
            failsoft.Tls(**{argument: number})
        assert wrong.value.argument == argument


def test_every_error_has_its_code() -> None:
    errors = [error for error in vars(failsoft).values() if type(error) is type]
    codes = {error.code for error in errors if issubclass(error, failsoft.FailsoftError)}
    assert len(codes) == 12 and {error.__name__ for error in errors} <= set(failsoft.__all__)
