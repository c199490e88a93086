"""The second callback: asked instead of `fallback` for keys that nobody is known to have changed."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import failsoft
import pytest
from conftest import LONG, eventually, run
from failsoft import Config, Router, blocking
from testkit import Scripted

#: Nobody listens there: no primary says that a key is missing.
DOWN = ["127.0.0.1:1"]
LONG_LOAD: Config = {"deadline": 0.1, "load_timeout": 3000.0}
#: Which callback is asked for a key that is missing for this reason.
CALLBACKS = {"absent": "recompute", "unknown": "recompute", "expired": "recompute", "invalidated": "fallback"}


def delete(address: str, key: str) -> None:
    """As another client, who tells nobody."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), LONG) as connection:
        connection.sendall(b"*2\r\n$3\r\nDEL\r\n$%d\r\n%s\r\n" % (len(key), key.encode()))
        assert connection.recv(64) == b":1\r\n"


class Asked:
    """Two callbacks, and what they were called with."""

    def __init__(self, value: object = b"v", *, asynchronous: bool = False) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self._value, kind = value, self._later if asynchronous else self._now
        self.fallback: Any = partial(kind, "fallback")
        self.recompute: Any = partial(kind, "recompute")

    def _now(self, name: str, key: str, reason: str) -> object:
        self.calls.append((name, key, reason))
        return self._value

    async def _later(self, name: str, key: str, reason: str) -> object:
        await asyncio.sleep(0)
        return self._now(name, key, reason)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_one_that_fits_is_asked_and_never_both(scripted: Scripted, asynchronous: bool) -> None:
    async def main() -> None:
        asked = Asked(asynchronous=asynchronous)
        async with Router([scripted.address]) as router:
            await router.ready(10)
            for key, ttl in (("unknown", None), ("expired", 0.001), ("invalidated", None)):
                await router.set(key, b"1", ttl=ttl)
            delete(scripted.address, "unknown")
            await router.invalidate("invalidated")
            # Its time to live is over once the router has heard of it, and as long again.
            await eventually("it has expired", partial(passed, asyncio.get_running_loop().time()))
            for reason, callback in CALLBACKS.items():
                outcome = await router.resolve(reason, asked.fallback, recompute=asked.recompute)
                assert (outcome.value, outcome.served_by, outcome.reason) == (b"v", "secondary", reason)
                assert asked.calls == [(callback, reason, reason)]
                asked.calls.clear()
            scripted.behave("GET", "ERR no")
            assert await router.get_with_fallback("error", asked.fallback, recompute=asked.recompute) == b"v"
        async with Router(DOWN, **LONG_LOAD) as router:
            assert await router.get_with_fallback("down", asked.fallback, recompute=asked.recompute) == b"v"
        assert asked.calls == [("fallback", "error", "error_reply"), ("fallback", "down", "connection")]

    run(main())


def passed(since: float) -> bool:
    return asyncio.get_running_loop().time() > since + 0.01


def test_the_same_in_a_thread(scripted: Scripted) -> None:
    asked = Asked()
    with blocking.Router([scripted.address]) as router:
        router.ready(10)
        router.set("unknown", b"1")
        delete(scripted.address, "unknown")
        router.set("invalidated", b"1")
        router.invalidate("invalidated")
        for reason in ("absent", "unknown", "invalidated"):
            assert router.get_with_fallback(reason, asked.fallback, recompute=asked.recompute, deadline=60) == b"v"
    assert asked.calls == [(CALLBACKS[reason], reason, reason) for reason in ("absent", "unknown", "invalidated")]


def test_it_follows_the_rules_of_the_other_one(scripted: Scripted) -> None:
    def fails(_: str) -> bytes:
        raise ZeroDivisionError("mine")

    async def main() -> None:
        never: Any = Asked().fallback
        async with Router([scripted.address]) as router:
            await router.ready(10)
            with pytest.raises(ZeroDivisionError, match="mine"):
                await router.get_with_fallback("rules:1", never, recompute=fails)
            assert await router.get_with_fallback("rules:2", never, recompute=lambda _: None) is None
            with pytest.raises(failsoft.InvalidArgument, match="the recompute gave int") as refused:
                await router.get_with_fallback("rules:3", never, recompute=lambda _: 3)  # type: ignore[arg-type]
            assert refused.value.argument == "recompute"
            assert await router.get_with_fallback("rules:4", never, recompute=lambda key: key + "!") == b"rules:4!"

    run(main())
    with blocking.Router([scripted.address]) as router:
        router.ready(10)
        with pytest.raises(failsoft.InvalidArgument, match="the recompute is async") as refused:
            router.get_with_fallback("rules:5", Asked().fallback, recompute=Asked(asynchronous=True).recompute)
        assert refused.value.argument == "recompute"


@pytest.mark.parametrize("kind", [Router, blocking.Router])
def test_it_is_refused_alone_and_where_it_cannot_be_called(kind: type[Any]) -> None:
    async def main() -> None:
        router = kind(DOWN)
        for read in (router.get_with_fallback, router.resolve):
            for arguments in ((), (None,)):
                with pytest.raises(failsoft.InvalidArgument, match="there is no fallback beside it") as refused:
                    read("k", *arguments, recompute=lambda _: b"v")
                assert refused.value.argument == "recompute"
            with pytest.raises(failsoft.InvalidArgument, match="int cannot be called") as refused:
                read("k", lambda _: b"v", recompute=3)
            assert refused.value.argument == "recompute"
        for read in (router.get_many_with_fallback, router.resolve_many):
            with pytest.raises(TypeError, match="unexpected keyword argument 'recompute'"):
                read(["k"], dict, recompute=dict)
        if (closing := router.close()) is not None:
            await closing

    run(main())


def test_of_a_loop_that_is_gone_the_next_one_takes_over(scripted: Scripted) -> None:
    begun = threading.Event()

    async def main() -> None:
        asked = Asked()
        async with Router([scripted.address]) as router:
            await router.ready(10)

            async def hangs(_: str) -> bytes:
                begun.set()
                await asyncio.Event().wait()
                return b"never"

            def other() -> None:
                loop = asyncio.new_event_loop()
                read = loop.create_task(wait(router.get_with_fallback, "over", asked.fallback, recompute=hangs))
                loop.call_later(LONG, read.cancel)
                loop.run_until_complete(until(joined))
                # Its callback never ends.
                loop.close()

            joined = threading.Event()
            thread = threading.Thread(target=other)
            thread.start()
            await asyncio.to_thread(begun.wait, LONG)
            read = router.resolve("over", asked.fallback, recompute=asked.recompute)
            await eventually("it waits", lambda: router.health()["waiters"] == 2)
            joined.set()
            outcome = await read
            assert (outcome.value, outcome.served_by, asked.calls) == (
                b"v",
                "secondary",
                [("recompute", "over", "absent")],
            )
            thread.join()

    run(main())


async def wait(read: Callable[..., Any], *arguments: Any, **options: Any) -> object:
    return await read(*arguments, **options)


async def until(event: threading.Event) -> None:
    await eventually("the other one waits", event.is_set)


class Held:
    """A callback that can be told to be gone."""

    loop: asyncio.AbstractEventLoop

    def __call__(self, key: str) -> bytes:
        return b"v"


def test_nothing_holds_it_afterwards(scripted: Scripted) -> None:
    held: weakref.WeakSet[Held] = weakref.WeakSet()

    def one() -> Held:
        callback = Held()
        held.add(callback)
        return callback

    async def main() -> None:
        async with Router([scripted.address]) as router:
            await router.ready(10)
            for i in range(200):
                read = router.get_with_fallback(f"held:{i}", one(), recompute=one())
                if i % 2:
                    read.cancel()
                else:
                    await read
            del read
            await eventually("they are gone", lambda: not held)

    run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_circles_through_it_are_collected(scripted: Scripted) -> None:
    """Loops that are dropped without being closed, in a circle with the callback of a call under way."""
    held: weakref.WeakSet[Held] = weakref.WeakSet()
    with blocking.Router([scripted.address]) as other:
        other.ready(10)
        router = Router([scripted.address])
        scripted.behave("GET", "silent")

        async def begin() -> None:
            callback = Held()
            callback.loop = asyncio.get_running_loop()
            held.add(callback)
            router.get_with_fallback("circle", lambda _: b"v", recompute=callback)

        for _ in range(5):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(begin())
        del loop
        scripted.behave("GET", None)

        def collected() -> bool:
            gc.collect()
            other.get_with_fallback("circle:other", lambda _: b"v")
            # The last one may be held by a frame.
            return len(held) <= 1

        run(eventually("they are collected", collected))
        run(closing(router))


async def closing(router: Router) -> None:
    await router.close()
