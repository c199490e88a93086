"""Nothing stays behind: memory, Futures, descriptors, threads, flights."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time
from typing import Any

import pytest
from conftest import eventually, run
from failsoft import Router

#: `FAILSOFT_LEAK_READS=1000000` is the whole test.
READS = int(os.environ.get("FAILSOFT_LEAK_READS", "200000"))


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def futures() -> int:
    gc.collect()
    return sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_reads_with_cancellations_leave_nothing(cluster: list[str], patient: dict[str, Any]) -> None:
    dice = random.Random(7)

    async def slow(key: str) -> bytes:
        await asyncio.sleep(0)
        return key.encode()

    async def reader(router: Router, reads: int) -> None:
        for _ in range(reads):
            # One in a hundred goes to the callback.
            key = f"leak:{dice.randrange(100)}" if dice.random() > 0.01 else f"leak:miss:{dice.randrange(1000)}"
            read = router.get_with_fallback(key, slow)
            if dice.random() < 0.01:
                if dice.random() < 0.5:
                    await asyncio.sleep(0)
                read.cancel()
            else:
                assert await read is not None

    async def main() -> tuple[int, int]:
        before = futures()
        async with Router(cluster, fill=False, **patient) as router:
            await router.ready(10)
            for i in range(100):
                await router.set(f"leak:{i}", os.urandom(100))
            sizes = []
            for _ in range(10):
                await asyncio.gather(*(reader(router, READS // 10 // 64) for _ in range(64)))
                gc.collect()
                sizes.append(resident())
            await eventually("no flight", lambda: router.health()["flights"] == router.health()["waiters"] == 0)
            await eventually("no Future", lambda: futures() <= before + 1)
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


def native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux's /proc")
def test_a_hundred_loops_and_routers_leave_nothing(cluster: list[str]) -> None:
    async def abandoned() -> None:
        # Neither awaited nor closed.
        router = Router(cluster)
        router.get_with_fallback("leak:abandoned", lambda key: key)

    run(used(cluster))
    files, threads = descriptors(), native_threads()
    for _ in range(50):
        run(used(cluster))
        run(abandoned())
    gc.collect()
    run(eventually("no descriptor", lambda: descriptors() <= files + 8))
    assert native_threads() <= threads + 1
    assert futures() == 0
