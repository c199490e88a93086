"""Objects whose own methods lie, raise or have no end: they end no process, and take no answer from anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Any

import failsoft
import pytest
from conftest import run
from failsoft import Router, blocking

#: Nobody listens there: each read asks its callback.
DOWN = ["127.0.0.1:1"]


class Endless(Sequence[str]):
    """Says that it is longer than any memory, and raises what it is given when it is read."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, place: Any) -> Any:
        return "127.0.0.1:1=127.0.0.1:2"

    def __iter__(self) -> Iterator[str]:
        while self.error is None:
            yield self[0]
        raise self.error


class Unreadable:
    """No number, although it has the method of one."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __float__(self) -> float:
        raise self.error


@pytest.mark.parametrize("router", [Router, blocking.Router])
def test_the_length_of_a_setting_is_not_believed(router: type[Any]) -> None:
    allowed = "allowed: at most 10000 pairs"
    for value, problem in [
        (range(2**40), f"a range of something else than str is not a setting; {allowed}"),
        (Endless(), f"more than 10000 pairs; {allowed}"),
        (Endless(ValueError("mine")), f"an Endless that cannot be read: ValueError: mine; {allowed}"),
        (b"a:1=b:2", "something else than str"),
    ]:
        with pytest.raises(failsoft.ConfigError, match=problem) as wrong:
            router(DOWN, address_map=value)
        assert wrong.value.key == "address_map"
    for key in ("username", "max_retries", "fill"):
        with pytest.raises(failsoft.ConfigError, match="range is not a setting"):
            router(DOWN, **{key: range(2**40)})
    router(DOWN, address_map=MappingProxyType({"127.0.0.1:1": "127.0.0.1:2"}))


@pytest.mark.parametrize("router", [Router, blocking.Router])
def test_what_a_setting_raises_is_told_or_goes_on(router: type[Any]) -> None:
    with pytest.raises(failsoft.ConfigError, match=r"an Unreadable that cannot be read \(ValueError: mine\)"):
        router(DOWN, deadline=Unreadable(ValueError("mine")))
    for ends in (KeyboardInterrupt(), SystemExit(3)):
        for setting in ({"deadline": Unreadable(ends)}, {"address_map": Endless(ends)}):
            with pytest.raises(type(ends)):
                router(DOWN, **setting)
    for octets in (bytearray(b"a:1"), memoryview(b"a:1")):
        with pytest.raises(failsoft.ConfigError, match=f"{type(octets).__name__} is not a list of addresses"):
            router(octets)


class OtherText(str):
    def encode(self, *_: Any) -> bytes:
        return b"other"


class OtherHash(bytes):
    def __hash__(self) -> int:
        return 1


class UnlikeAll(bytes):
    def __eq__(self, _: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def test_keys_of_a_class_of_their_own_come_to_the_callback_as_they_were_given() -> None:
    keys: list[Any] = [OtherText("a"), OtherHash(b"b"), UnlikeAll(b"c")]

    def load(asked: list[Any]) -> dict[Any, bytes]:
        assert all(any(given is one for given in keys) for one in asked)
        return {bytes(memoryview(key)) if isinstance(key, bytes) else str.__str__(key): b"v" for key in asked}

    async def main() -> None:
        async with Router(DOWN) as router:
            for key in keys:
                assert await router.get_many_with_fallback([key], load) == [b"v"]
            with pytest.raises(failsoft.InvalidArgument, match="memoryview; allowed: an iterable of keys"):
                router.resolve_many(memoryview(b"one key"), load)

    run(main())
    with blocking.Router(DOWN) as router:
        assert router.get_many_with_fallback(keys, load) == [b"v"] * 3


def test_functions_of_the_same_text_may_differ_in_their_defaults() -> None:
    def made(text: str) -> Callable[..., Any]:
        names: dict[str, Any] = {}
        # As in two files: the name of the file is no part of what makes code equal.
        exec(text, names)
        return names["load"]  # type: ignore[no-any-return]

    optional = made("def load(key, extra='own'):\n    return extra")
    required = made("def load(key, extra):\n    return extra")
    with blocking.Router(DOWN) as router:
        for _ in range(2):
            assert router.get_with_fallback("optional", optional) == b"own"
            assert router.get_with_fallback("required", required) != b"own"


class Classless(Exception):
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise RuntimeError("no class")


def test_an_exception_that_hides_its_class_reaches_its_callers() -> None:
    error = Classless()

    def load(_: object) -> bytes:
        raise error

    async def main() -> None:
        async with Router(DOWN, load_timeout=60.0) as router:
            reads = [router.get_with_fallback("k", load) for _ in range(3)]
            assert len((await asyncio.wait(reads))[0]) == 3
            assert all(read.exception() is error for read in reads)

    run(main())
