"""Nothing stays behind: memory, Futures, descriptors, threads, flights."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import threading
import time
import types
import weakref
from typing import Any

import pytest
from conftest import LONG, eventually, run
from failsoft import Router, Shed, blocking

#: `FAILSOFT_LEAK_READS=1000000` is the whole test.
READS = int(os.environ.get("FAILSOFT_LEAK_READS", "200000"))


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def gone(reads: weakref.WeakSet[Any]) -> bool:
    gc.collect()
    return len(reads) == 0


def held(reads: weakref.WeakSet[Any]) -> str:
    """What holds those that are still there, for who has to find out."""
    lines, holders = [], list(reads)[:1]
    for _ in range(6):
        lines += [f"{type(holder).__name__} {holder!r:.200}" for holder in holders] + ["held by"]
        known = {id(thing) for thing in (*holders, holders, lines)}
        holders = [h for h in gc.get_referrers(*holders) if id(h) not in known and not isinstance(h, types.FrameType)][
            :4
        ]
    return f"{len(reads)} of the reads are still there; one of them is\n" + "\n".join(lines)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_reads_with_cancellations_leave_nothing(cluster: list[str], patient: dict[str, Any]) -> None:
    dice = random.Random(7)

    async def slow(key: str) -> bytes:
        await asyncio.sleep(0)
        if dice.random() < 0.5:
            raise ValueError(key)
        return key.encode()

    reads: weakref.WeakSet[Any] = weakref.WeakSet()

    async def reader(router: Router, count: int) -> None:
        for _ in range(count):
            # One in fifty goes to the callback, and half of these fail, or are shed.
            key = f"leak:{dice.randrange(100)}" if dice.random() > 0.02 else f"leak:miss:{dice.randrange(1000)}"
            read = router.get_with_fallback(key, slow)
            reads.add(read)
            if dice.random() < 0.01:
                if dice.random() < 0.5:
                    await asyncio.sleep(0)
                read.cancel()
            else:
                with contextlib.suppress(ValueError, Shed):
                    assert await read is not None

    async def main() -> tuple[int, int]:
        # What a callback raised is kept for late callers, and by it the frames that it went through, for a `deadline`.
        async with Router(cluster, fill=False, **{**patient, "deadline": 4.0}) as router:
            await router.ready(10)
            for i in range(100):
                await router.set(f"leak:{i}", os.urandom(100))
            sizes = []
            for _ in range(10):
                await asyncio.gather(*(reader(router, READS // 10 // 64) for _ in range(64)))
                gc.collect()
                sizes.append(resident())
            await eventually("no flight", lambda: router.health()["flights"] == router.health()["waiters"] == 0)
            await eventually("no read is held", lambda: gone(reads), lambda: held(reads))
            return sizes[0], max(sizes[1:])

    # The first loop starts what every later one uses.
    run(used(cluster))
    files, threads = descriptors(), threading.active_count()
    first, most = asyncio.run(main())
    assert most <= first * 1.05, f"{first} bytes after the first tenth, later {most}"
    assert threading.active_count() == threads
    # Without a loop, which has some of its own; the connections are closed by the I/O thread.
    until = time.monotonic() + 10
    while descriptors() > files and time.monotonic() < until:
        time.sleep(0.01)
    assert descriptors() <= files


async def used(cluster: list[str]) -> None:
    async with Router(cluster) as router:
        await router.ready(10)


def test_invalidations_with_cancellations_leave_nothing(cluster: list[str], patient: dict[str, Any]) -> None:
    calls: weakref.WeakSet[Any] = weakref.WeakSet()

    async def main(router: Router, *, ends: bool) -> None:
        for i in range(2_000):
            call = router.invalidate(f"leak:inv:{i}", b"leak:inv")
            calls.add(call)
            if i % 3 == 0:
                call.cancel()
            elif i % 3 == 1 and ends:
                await call

    async def open_and_close() -> None:
        async with Router(cluster, **patient) as router:
            await main(router, ends=True)
            await eventually("no call is held", lambda: gone(calls), lambda: held(calls))

    run(open_and_close())
    router = Router(cluster, **patient)
    # A loop that ends with calls under way.
    run(main(router, ends=False))
    run(eventually("no call is held", lambda: gone(calls), lambda: held(calls)))
    run(closing(router))


class Loop(asyncio.SelectorEventLoop):
    pass


class Proactor(asyncio.SelectorEventLoop):
    """Without `add_reader`, but for its own pipe."""

    def add_reader(self, fd: Any, callback: Any, *arguments: Any) -> None:  # type: ignore[override]
        if getattr(callback, "__name__", "") == "drain":
            raise NotImplementedError
        super().add_reader(fd, callback, *arguments)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("kind", [Loop, Proactor])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_loops_that_nobody_holds_are_collected(kind: type[asyncio.SelectorEventLoop], closed: bool) -> None:
    async def work(router: Router) -> None:
        async def load(_: str) -> bytes:
            await asyncio.sleep(0)
            return b"v"

        assert await asyncio.gather(*(router.get_with_fallback(f"loops:{i}", load) for i in range(3))) == [b"v"] * 3
        # One goes on for ever, on its loop alone.
        router.get_with_fallback("loops:never", lambda _: asyncio.Event().wait())  # type: ignore[arg-type]
        await asyncio.sleep(0.02)

    with blocking.Router(["127.0.0.1:1"], deadline=0.05) as other:
        router = Router(["127.0.0.1:1"], deadline=0.05)
        loops = []
        for _ in range(10):
            loop = kind()
            loops.append(weakref.ref(loop))
            loop.run_until_complete(work(router))
            if closed:
                loop.close()
            del loop

        def alive() -> int:
            gc.collect()
            other.get_with_fallback("loops:other", lambda _: b"v")
            return sum(loop() is not None for loop in loops)

        # The last one may be held by a frame.
        run(eventually("they are collected", lambda: alive() <= 1))
        run(closing(router))


async def closing(router: Router) -> None:
    await router.close()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", [Loop, Proactor])
def test_a_failed_load_lets_its_frames_go(kind: type[asyncio.SelectorEventLoop], asynchronous: bool) -> None:
    class Big:
        pass

    held: list[weakref.ref[Big]] = []

    def plain(_: str) -> bytes:
        big = Big()
        held.append(weakref.ref(big))
        raise ValueError

    async def later(_: str) -> bytes:
        await asyncio.sleep(0)
        return plain(_)

    async def main() -> None:
        async with Router(["127.0.0.1:1"], deadline=0.1) as router:
            for i in range(20):
                with contextlib.suppress(ValueError):
                    await router.get_with_fallback(f"frames:{i}", later if asynchronous else plain)
            # No call of the router's comes after the last one: the loop alone turns.
            await eventually("the frames are gone", lambda: not any(big() for big in held))

    loop = kind()
    loop.run_until_complete(asyncio.wait_for(main(), LONG))
    loop.close()


def native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux's /proc")
def test_a_hundred_loops_and_routers_leave_nothing(cluster: list[str]) -> None:
    reads: weakref.WeakSet[Any] = weakref.WeakSet()

    async def abandoned() -> None:
        # Neither awaited nor closed.
        router = Router(cluster)
        reads.add(router.get_with_fallback("leak:abandoned", lambda key: key))

    run(used(cluster))
    files, threads = descriptors(), native_threads()
    for _ in range(50):
        run(used(cluster))
        run(abandoned())
    run(eventually("no read is held", lambda: gone(reads), lambda: held(reads)))
    run(eventually("no descriptor", lambda: descriptors() <= files + 8))
    assert native_threads() <= threads + 1
