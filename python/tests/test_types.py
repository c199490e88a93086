"""What types and documentation say is what the core has, and what is so."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import types
import typing
from collections.abc import Callable
from typing import Any, get_args

import failsoft
import pytest
from conftest import run
from failsoft import Outcome, Router, _failsoft, _types, blocking


def test_the_words_are_the_cores() -> None:
    words = _failsoft.vocabulary()
    assert list(get_args(_types.ServedBy)) == words["served_by"]
    assert list(get_args(_types.Reason)) == words["reason"]
    assert list(get_args(_types.Cause)) == words["cause"]
    assert list(get_args(_types.ShedCause)) == words["shed_cause"]
    assert list(get_args(_types.Step)) == words["step"]
    assert list(get_args(_types.Durability)) == words["durability"]
    assert list(get_args(_types.Coalesce)) == words["shared"]
    assert list(get_args(_types.InvalidationRecord)) == words["record"]


def fits(value: Any, kind: Any, path: str) -> None:
    """Whether a value is what a type says, with every field and none more."""
    origin, arguments = typing.get_origin(kind), get_args(kind)
    if typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind)
        assert set(value) == set(hints), path
        for name, hint in hints.items():
            fits(value[name], hint, f"{path}.{name}")
    elif origin is list:
        assert isinstance(value, list), path
        for item in value:
            fits(item, arguments[0], f"{path}[]")
    elif origin is dict:
        assert isinstance(value, dict), path
    elif origin is typing.Literal:
        assert value in arguments, (path, value)
    elif origin in (typing.Union, types.UnionType):
        if value is not None:
            [some] = [argument for argument in arguments if argument is not type(None)]
            fits(value, some, path)
    else:
        assert type(value) is kind, (path, value)


def test_health_has_the_fields_of_its_types(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            await router.ready(10)
            await router.set("types:health", "x")
            await router.get_with_fallback("types:health:none", lambda _: b"v")
            health = router.health()
            assert health["nodes"] and health["counters"]["reads"]
            fits(health, _types.Health, "health")

    run(main())
    with blocking.Router(["127.0.0.1:1"], deadline=0.1) as down:
        down.get_with_fallback("k", lambda _: b"v")
        fits(down.health(), _types.Health, "health")


@pytest.mark.parametrize("router", [Router, blocking.Router])
def test_every_method_says_what_it_does(router: type[Any]) -> None:
    methods = [name for name in dir(router) if not name.startswith("_")]
    reads = {"get_with_fallback", "resolve", "resolve_many", "get_many_with_fallback"}
    assert reads | {"set", "invalidate", "writing", "ready", "close"} < set(methods)
    for name in methods:
        method = inspect.getattr_static(router, name)
        text = inspect.getdoc(getattr(router, name)) or ""
        assert text, name
        if name not in ("state", "health_json"):
            assert "Example" in text and name in text.split("Example")[1], name
            assert "self" in inspect.signature(method).parameters, name
    assert "Example" in (router.__doc__ or "")


def test_outcomes_are_values() -> None:
    first = Outcome(b"v", "replica", "timeout", age=1.5, attempts=2, coalesced=True, node="h:1")
    for other in (copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert other == first and hash(other) == hash(first) and repr(other) == repr(first)
    different = [
        Outcome(b"w", "replica", "timeout", age=1.5, attempts=2, coalesced=True, node="h:1"),
        Outcome(b"v", "primary", "timeout", age=1.5, attempts=2, coalesced=True, node="h:1"),
        Outcome(b"v", "replica", None, age=1.5, attempts=2, coalesced=True, node="h:1"),
        Outcome(b"v", "replica", "timeout", age=1.0, attempts=2, coalesced=True, node="h:1"),
        Outcome(b"v", "replica", "timeout", age=1.5, attempts=3, coalesced=True, node="h:1"),
        Outcome(b"v", "replica", "timeout", age=1.5, attempts=2, coalesced=False, node="h:1"),
        Outcome(b"v", "replica", "timeout", age=1.5, attempts=2, coalesced=True, node="h:2"),
    ]
    assert len({first, *different}) == 8
    assert first != object()
    wrong: Any = "elsewhere"
    with pytest.raises(failsoft.InvalidArgument, match="served_by"):
        Outcome(b"v", wrong)
    with pytest.raises(failsoft.InvalidArgument, match="reason"):
        Outcome(b"v", "primary", wrong)


def test_errors_are_pickled_with_their_details() -> None:
    with pytest.raises(failsoft.ConfigError) as wrong:
        Router("127.0.0.1:1", deadline=-1.0)
    again = pickle.loads(pickle.dumps(wrong.value))
    assert (type(again), str(again), again.key) == (failsoft.ConfigError, str(wrong.value), "deadline")


def test_a_router_shows_where_it_reads_and_how_it_is(cluster: list[str]) -> None:
    async def main() -> None:
        router = Router([f"redis://user:secret@{cluster[0]}"])
        assert "secret" not in repr(router) and f"<failsoft.Router nodes={cluster[0]} state=" in repr(router)
        await router.close()
        assert router.state == "closed" and "state=closed" in repr(router)

    run(main())
    with blocking.Router(cluster) as router:
        router.ready(10)
        assert repr(router) == f"<failsoft.blocking.Router nodes={','.join(cluster)} state=ready>"


def test_a_router_that_is_not_closed_is_told() -> None:
    for kind in (Router, blocking.Router):
        router = kind(["127.0.0.1:1"])
        with pytest.warns(ResourceWarning, match=r"unclosed <failsoft.*127\.0\.0\.1:1"):
            del router


def test_a_circle_names_its_key() -> None:
    with blocking.Router(["127.0.0.1:1"], deadline=0.1) as router:

        def load(key: str) -> Any:
            return router.get_with_fallback(key, load)

        with pytest.raises(failsoft.Reentrant) as circle:
            router.get_with_fallback("circle", load)
        assert circle.value.key == b"circle"


@pytest.mark.parametrize("kind", [Router, blocking.Router])
def test_wrong_arguments_are_named(kind: type[Any]) -> None:
    async def main() -> None:
        router = kind(["127.0.0.1:1"])
        for wrong in ("1", b"1", True, object(), [], -1, float("nan"), float("inf"), 10**400, -1e300):
            calls: list[tuple[str, Callable[[], object]]] = [
                ("ttl", functools.partial(router.get_with_fallback, "k", ttl=wrong)),
                ("ttl", functools.partial(router.set, "k", b"v", wrong)),
                ("ttl", functools.partial(router.resolve_many, ["k"], dict, ttl=wrong)),
                ("deadline", functools.partial(router.resolve, "k", deadline=wrong)),
                ("deadline", functools.partial(router.resolve_many, ["k"], dict, deadline=wrong)),
                ("timeout", functools.partial(router.ready, wrong)),
            ]
            for argument, call in calls:
                with pytest.raises(failsoft.InvalidArgument, match="allowed: a number of seconds") as refused:
                    call()
                assert refused.value.argument == argument and len(str(refused.value)) < 120
        for keys in ("abc", b"abc", bytearray(b"abc"), 3, None):
            with pytest.raises(failsoft.InvalidArgument, match="allowed: an iterable of keys") as refused:
                router.resolve_many(keys, dict)
            assert refused.value.argument == "keys"
        with pytest.raises(TypeError, match=r"^Router\.resolve\(\) missing 1 required positional argument: 'key'"):
            router.resolve()
        with pytest.raises(ZeroDivisionError):
            router.resolve_many((1 / 0 for _ in range(3)), dict)
        if kind is Router:
            await router.close()
        else:
            router.close()

    run(main())


@pytest.mark.parametrize("kind", [Router, blocking.Router])
def test_a_router_may_be_extended(kind: type[Any]) -> None:
    class Named(kind):  # type: ignore[misc]
        def __init__(self, name: str, *, port: int) -> None:
            super().__init__([f"127.0.0.1:{port}"], deadline=0.1)
            self.name = name

    class Lazy(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    named = Named("mine", port=1)
    assert named.name == "mine" and "nodes=127.0.0.1:1 state=connecting" in repr(named)
    with pytest.raises(RuntimeError, match="called before"):
        Named.__init__(named, "again", port=1)
    with pytest.raises(RuntimeError, match="was not called"):
        Lazy().get_with_fallback("k")
    assert "state=closed" in repr(Lazy())
    with pytest.warns(ResourceWarning, match="unclosed"):
        del named


def test_a_deadline_of_zero_has_passed(cluster: list[str], patient: dict[str, Any]) -> None:
    def never(_: object) -> Any:
        pytest.fail("called")

    with blocking.Router(cluster, **patient) as router:
        router.set("zero", b"v")
        for _ in range(20):
            with pytest.raises(failsoft.DeadlineExceeded) as passed:
                router.get_with_fallback("zero", never, deadline=0)
            assert passed.value.limit == "deadline"
            for told in router.resolve_many(["zero", "zero:miss"], never, deadline=0.0):
                assert isinstance(told, failsoft.DeadlineExceeded)


def test_a_batch_has_options_of_its_own(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            await router.set("batch:hit", "v")

            async def never(_: list[str]) -> dict[str, bytes]:
                await asyncio.sleep(1000)
                return {}

            first, second = await router.resolve_many(["batch:hit", "batch:miss"], never, deadline=0.5)
            assert isinstance(first, Outcome) and first.value == b"v"
            assert isinstance(second, failsoft.DeadlineExceeded) and second.limit == "deadline"
            with pytest.raises(failsoft.DeadlineExceeded):
                await router.get_many_with_fallback(["batch:miss"], never, deadline=0.2)
            for options in ({"ttl": 0.0}, {"ttl": -1.0}, {"deadline": float("nan")}):
                with pytest.raises(failsoft.InvalidArgument):
                    router.resolve_many(["batch:hit"], dict, **options)

    run(main())
