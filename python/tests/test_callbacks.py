"""What callbacks give and raise, however odd: every waiter hears of it at once, and nothing is left."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import failsoft
import pytest
from conftest import eventually, run
from failsoft import Config, Router, _callbacks, _signatures, blocking
from testkit import Scripted

#: Nobody listens there: every read comes to its callback.
DOWN = ["127.0.0.1:1"]
#: A lost answer would take this long to be noticed; tests end long before.
LONG_LOAD: Config = {"deadline": 0.1, "load_timeout": 3000.0}


class Broken(Mapping[Any, Any]):
    def __getitem__(self, key: object) -> Any:
        return b""

    def __iter__(self) -> Iterator[Any]:
        raise ZeroDivisionError("iter")

    def __len__(self) -> int:
        return 1


class Items(dict[Any, Any]):
    """Whose `items` are these, or fail as these do."""

    def __init__(self, items: Callable[[], Any]) -> None:
        super().__init__(a=b"x")
        self._items = items

    def items(self) -> Any:
        return self._items()


def fails_midway() -> Iterator[Any]:
    yield "a", b"x"
    raise ZeroDivisionError("midway")


class Flow(BaseException):
    """As `pytest.fail` and control flow raise."""


def odd(result: object, asynchronous: bool) -> Any:
    if not asynchronous:
        return lambda _: result

    async def load(_: object) -> object:
        await asyncio.sleep(0)
        return result

    return load


ODD = ["\ud800", 3, Broken(), object(), (b"x",)]
UNREADABLE: list[object] = [
    Broken(),
    Items(fails_midway),
    Items(lambda: 1 // 0),
    *(Items(lambda: None), Items(lambda: [1]), Items(lambda: [("a", b"x", 1)])),
]
ODD_MANY: list[object] = [*UNREADABLE, {"a": "\ud800"}, {"\ud800": b"a"}, {"a": 3}, {3: b"a"}, [b"x"], None]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_result_that_cannot_be_taken_fails_every_waiter_at_once(asynchronous: bool) -> None:
    async def main() -> None:
        async with Router(DOWN, **LONG_LOAD) as router:
            for place, result in enumerate(ODD):
                key = f"odd:{place}"
                reads = [router.get_with_fallback(key, odd(result, asynchronous)) for _ in range(3)]
                for told in await asyncio.gather(*reads, return_exceptions=True):
                    assert isinstance(told, failsoft.InvalidArgument) and told.argument == "fallback"
                    assert "allowed: bytes, str, bytearray, memoryview or None" in str(told)
            for place, many in enumerate(ODD_MANY):
                keys = [f"many:{place}:{i}" for i in range(3)]
                for outcome in await router.resolve_many(keys, odd(many, asynchronous)):
                    assert isinstance(outcome, failsoft.InvalidArgument) and outcome.argument == "fallback"
            health = router.health()
            assert health["flights"] == health["waiters"] == 0

    run(main())


def test_the_same_in_threads() -> None:
    with blocking.Router(DOWN, **LONG_LOAD) as router:
        for place, result in enumerate(ODD):
            with pytest.raises(failsoft.InvalidArgument, match="the fallback gave"):
                router.get_with_fallback(f"odd:{place}", odd(result, False))
        for place, many in enumerate(ODD_MANY):
            for told in router.resolve_many([f"many:{place}"], odd(many, False)):
                assert isinstance(told, failsoft.InvalidArgument)
                assert ("that cannot be read: " in str(told)) == (place < len(UNREADABLE)), told

        def flow(_: object) -> Any:
            raise Flow("mine")

        with pytest.raises(Flow, match="mine"):
            router.get_with_fallback("flow", flow)
        [told] = router.resolve_many(["flow:many"], flow)
        assert isinstance(told, Flow)
        with pytest.raises(failsoft.InvalidArgument, match=r"needs failsoft\.Router"):
            router.get_with_fallback("async", odd(b"", True))


def test_keys_and_values_of_every_type(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            value = bytearray(b"value")
            await router.set(memoryview(b"types:set"), value)
            assert await router.get_with_fallback(bytearray(b"types:set")) == b"value"
            for surrogate in ("\ud800", "a\udfffb"):
                for call in (
                    lambda key=surrogate: router.get_with_fallback(key),
                    lambda key=surrogate: router.resolve_many([key], dict),
                    lambda key=surrogate: router.set(key, b""),
                    lambda key=surrogate: router.set("types:a", key),
                ):
                    with pytest.raises(failsoft.InvalidArgument, match="lone surrogate"):
                        call()
            released = memoryview(b"x")
            released.release()
            with pytest.raises(failsoft.InvalidArgument, match="released"):
                router.set("types:a", released)
            given: list[Callable[[object], Any]] = [lambda _: bytearray(b"x"), lambda _: memoryview(b"xy")[:1]]
            for place, load in enumerate(given):
                assert await router.get_with_fallback(f"types:{place}", load) == b"x"
            # A buffer that is used again before its callback runs is still the key that was asked for.
            buffer = bytearray(b"types:first")
            read = router.resolve(buffer, lambda key: key)
            many = router.resolve_many([buffer, memoryview(buffer)], lambda keys: {key: key for key in keys})
            buffer[:] = b"types:other"
            first, (second, third) = await read, await many
            assert isinstance(second, failsoft.Outcome) and isinstance(third, failsoft.Outcome)
            assert (first.value, second.value, third.value) == (b"types:first",) * 3

    run(main())


def test_what_a_callback_raises_reaches_its_callers() -> None:
    async def later(_: object) -> Any:
        await asyncio.sleep(0)
        raise Flow("later")

    def at_once(_: object) -> Any:
        raise Flow("at once")

    def fails(_: object) -> bytes:
        pytest.fail("the store was asked")

    async def cancelled(_: object) -> Any:
        raise asyncio.CancelledError

    async def main() -> None:
        async with Router(DOWN, **LONG_LOAD) as router:
            for callback in (later, at_once):
                with pytest.raises(Flow):
                    await router.get_with_fallback(callback.__name__, callback)
                told = await router.resolve_many([callback.__name__ + ":many", "flow:2"], callback)
                assert [type(error) for error in told] == [Flow, Flow]
                with pytest.raises(Flow):
                    await router.get_many_with_fallback([callback.__name__ + ":get"], callback)
            with pytest.raises(pytest.fail.Exception):
                await router.get_with_fallback("fails", fails)
            with pytest.raises(asyncio.CancelledError):
                await router.get_with_fallback("cancelled", cancelled)
            [gone] = await router.resolve_many(["cancelled:many"], cancelled)
            assert isinstance(gone, asyncio.CancelledError)
            assert router.health()["flights"] == 0

    run(main())


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_loop_ends_it_and_its_caller_hears(asynchronous: bool, kind: type[BaseException]) -> None:
    def at_once(_: object) -> bytes:
        raise kind

    async def later(_: object) -> bytes:
        await asyncio.sleep(0)
        raise kind

    loop = asyncio.new_event_loop()
    reads: list[asyncio.Future[bytes | None]] = []

    async def main() -> None:
        router = Router(DOWN, **LONG_LOAD)
        reads.append(router.get_with_fallback("ends", later if asynchronous else at_once))
        await asyncio.wait(reads)
        await router.close()

    task = loop.create_task(main())
    with pytest.raises(kind):
        loop.run_until_complete(task)
    loop.run_until_complete(task)
    assert type(reads[0].exception()) is kind
    loop.close()


def test_callbacks_of_callers_who_are_gone_do_not_run() -> None:
    calls: list[str] = []

    async def load(key: str) -> bytes:
        calls.append(key)
        return b""

    async def main() -> None:
        async with Router(DOWN, **LONG_LOAD) as router:
            reads = [router.get_with_fallback(f"gone:{i}", load if i % 2 else calls.append) for i in range(200)]
            # Somebody else still waits for one of these keys: it is its own callback that runs.
            other = router.get_with_fallback("gone:7", lambda key: key + "!")
            for read in reads:
                read.cancel()
            # Longer than the cluster side takes, without a turn of the loop.
            time.sleep(0.5)  # noqa: ASYNC251
            assert await other == b"gone:7!"
            await eventually("no flight", lambda: router.health()["flights"] == 0)
            assert calls == []

    run(main())


def test_callbacks_of_reads_that_are_over_do_not_run() -> None:
    calls: list[str] = []

    def load(key: str) -> bytes:
        calls.append(key)
        # The loop does nothing else meanwhile, until the deadline of all has passed.
        time.sleep(1)
        return b""

    async def main() -> None:
        async with Router(DOWN, deadline=0.05) as router:
            reads = [router.get_with_fallback(f"over:{i}", load, deadline=0.4) for i in range(50)]
            for told in await asyncio.gather(*reads, return_exceptions=True):
                assert isinstance(told, failsoft.DeadlineExceeded)
            assert len(calls) <= 1

    run(main())


def test_a_thread_whose_read_is_over_does_not_begin_its_callback(scripted: Scripted) -> None:
    scripted.behave("GET", "silent")
    told: list[object] = []
    calls: list[str] = []

    def read(router: blocking.Router[bytes]) -> None:
        try:
            router.get_with_fallback("over", calls.append, deadline=0.5)
        except failsoft.DeadlineExceeded:
            told.append("late")

    with blocking.Router([scripted.address], attempt_timeout=0.1) as router:
        router.ready(10)
        thread = threading.Thread(target=read, args=(router,))
        thread.start()
        run(eventually("it is asked", lambda: scripted.calls("GET") > 0))
        # It waits, and gets the interpreter's lock back when all is over.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1000)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            pass
        sys.setswitchinterval(interval)
        thread.join()
    assert (told, calls) == (["late"], [])


def test_a_value_that_came_too_late_is_still_its_own_callers() -> None:
    def slow(key: object) -> Any:
        time.sleep(0.8)
        return {k: b"late" for k in key} if isinstance(key, list) else b"late"

    with blocking.Router(DOWN, deadline=0.05, load_timeout=0.5) as router:
        assert router.get_with_fallback("late:1", slow) == b"late"
        outcome = router.resolve("late:2", slow)
        assert (outcome.value, outcome.served_by, outcome.coalesced) == (b"late", "secondary", False)
        assert router.get_many_with_fallback(["late:3", "late:4"], slow) == [b"late"] * 2
        assert router.resolve("late:5", lambda _: time.sleep(0.8)).served_by == "none"

    async def main() -> None:
        async with Router(DOWN, deadline=0.05, load_timeout=0.5) as router:
            assert await router.get_with_fallback("late:1", slow) == b"late"
            assert (await router.resolve("late:2", slow)).served_by == "secondary"
            assert await router.get_many_with_fallback(["late:3", "late:4"], slow) == [b"late"] * 2
            assert (await router.resolve("late:5", lambda _: time.sleep(0.8))).served_by == "none"
            first = router.get_with_fallback("late:7", slow)
            joined = router.get_with_fallback("late:7", slow)
            told = await asyncio.gather(first, joined, return_exceptions=True)
            # The other one waited for a callback that was not its own.
            assert b"late" in told and any(isinstance(one, failsoft.DeadlineExceeded) for one in told)

    run(main())
    # A deadline of its own is the caller's word.
    with blocking.Router(DOWN, deadline=0.05) as router, pytest.raises(failsoft.DeadlineExceeded):
        router.get_with_fallback("late:6", slow, deadline=0.15)


class Store:
    def one(self, key: str) -> str:
        return key

    def two(self, key: str, reason: str) -> str:
        return key + reason

    def optional(self, key: str, times: int = 3) -> str:
        return key * times

    def named(self, key: str, reason: str = "") -> str:
        return key + reason

    @classmethod
    def of_class(cls, key: str, reason: str) -> str:
        return key + reason

    @staticmethod
    def static(key: str) -> str:
        return key

    def __call__(self, key: str, reason: str) -> str:
        return key + reason


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


class Decorated:
    @wrapped
    def two(self, key: str, reason: str) -> str:
        return key + reason


STORE = Store()
FORMS: list[Callable[..., Any]] = [
    lambda key: key,
    lambda key, reason: key,
    lambda key, extra=1: key,
    lambda key, reason=None: key,
    lambda *keys: keys,
    lambda key, *, reason=None: key,
    *(STORE.one, STORE.two, STORE.optional, STORE.named, STORE.of_class, STORE.static, STORE, Decorated().two),
    *(functools.partial(STORE.two, "x"), functools.partial(STORE.two, reason="x"), functools.partial(Store.two, STORE)),
    *(functools.partial(lambda db, key, reason: key, 1), functools.partial(lambda key, db, reason: key, db=1)),
    *(functools.partial(functools.partial(STORE.two), "a"), wrapped(lambda key: key), wrapped(STORE.two)),
    *({}.get, {}.__getitem__, len, str, dict, print, Store, functools.lru_cache(STORE.two)),
]


def by_inspection(fallback: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(fallback).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 and (positional[1].default is inspect.Parameter.empty or positional[1].name == "reason")


def test_who_wants_the_reason_is_what_inspect_says() -> None:
    for form in FORMS:
        assert _signatures.wants_reason(form) == by_inspection(form), form


def test_no_load_is_inspected_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    for form in FORMS:
        _signatures.wants_reason(form)
    monkeypatch.setattr(inspect, "signature", lambda _: pytest.fail("inspected again"))
    again: list[Callable[..., Any]] = [
        {}.get,
        functools.partial(STORE.two, "y"),
        functools.partial(STORE.two, reason="z"),
    ]
    for form in FORMS[:15] + again:
        _signatures.wants_reason(form)


def test_callbacks_are_exported_for_those_who_look() -> None:
    assert set(_callbacks.__all__) <= set(vars(_callbacks))
