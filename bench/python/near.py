"""What a near hit costs in Python: nanoseconds for each read in turn, beside what a caller could do without Failsoft.

    python bench/python/near.py [--rounds 7] [--node HOST:PORT]

Without --node it starts a cluster of its own with the test kit. The rows that name no router are what the same loop
costs with a dict, a cache of functools, or a Future that is made and done in Python: the last one is the least that any
call costs which gives a Future.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import pathlib
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from failsoft import Router, blocking

KEYS = [f"key:{i}" for i in range(1000)]
VALUE = b"x" * 100
READS = 100_000
NEAR = 64 << 20

Round = Callable[[], Awaitable[None]]


async def never(key: str) -> bytes:
    raise AssertionError(f"{key} went to the callback")


def refuse(key: str) -> bytes:
    raise AssertionError(f"{key} went to the callback")


def near(router: Any) -> int:
    return sum(count["count"] for count in router.health()["counters"]["reads"] if count["what"] == "near")


async def warm(router: Router[Any]) -> None:
    """Reads every key until a near copy serves it."""
    for key in KEYS:
        while (await router.resolve(key)).served_by != "near":
            pass


def awaited(read: Callable[[str, Any], Awaitable[Any]]) -> Round:
    async def run() -> None:
        for _ in range(READS // len(KEYS)):
            for key in KEYS:
                await read(key, never)

    return run


def called(read: Callable[[str, Any], Any]) -> Round:
    async def run() -> None:
        for _ in range(READS // len(KEYS)):
            for key in KEYS:
                read(key, refuse)

    return run


def of_router(router: Router[Any], read: Callable[[str, Any], Awaitable[Any]]) -> Round:
    """A round in which near copies serve, and a failure if they did not."""
    reads = awaited(read)

    async def run() -> None:
        before = near(router)
        await reads()
        if near(router) - before < READS * 0.99:
            raise RuntimeError(f"{near(router) - before} of {READS} were served near")

    return run


async def measure(address: str, rounds: int) -> dict[str, list[float]]:
    """Nanoseconds for each read, round by round. The rows take turns, so that whatever else happens falls on all."""
    loop = asyncio.get_running_loop()
    values = dict.fromkeys(KEYS, VALUE)
    cached = functools.lru_cache(maxsize=None)(values.get)

    async def coroutine(key: str, _: Any) -> bytes:
        return values[key]

    def future(key: str, _: Any) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = loop.create_future()
        future.set_result(values[key])
        return future

    plain = Router([address], near_cache_bytes=NEAR)
    text = Router([address], near_cache_bytes=NEAR, decode_responses=True)
    threads = blocking.Router([address], near_cache_bytes=NEAR)
    await plain.ready(10)
    for key in KEYS:
        await plain.set(key, VALUE)
    table: dict[str, Round] = {
        "dict": called(values.get),
        "functools.lru_cache": called(cached),
        "coroutine with a dict": awaited(coroutine),
        "create_future, set_result": awaited(future),
        "failsoft": of_router(plain, plain.get_with_fallback),
        "failsoft, decode_responses": of_router(text, text.get_with_fallback),
        "failsoft, resolve": of_router(plain, plain.resolve),
        "failsoft.blocking": called(threads.get_with_fallback),
    }
    results: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        for name, run in table.items():
            await warm(plain)
            await warm(text)
            while near(threads) < len(KEYS) * 100:
                for key in KEYS:
                    threads.get_with_fallback(key, refuse)
            began = time.perf_counter_ns()
            await run()
            results.setdefault(name, []).append((time.perf_counter_ns() - began) / READS)
    await plain.close()
    await text.close()
    threads.close()
    # The first round warms up.
    return {name: values[1:] for name, values in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--node")
    arguments = parser.parse_args()
    kit = None
    if (address := arguments.node) is None:
        sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python/tests"))
        from testkit import Kit

        kit = Kit()
        address = kit.cluster(3, 0)[0]
    results = asyncio.run(measure(address, arguments.rounds))
    python = ".".join(map(str, sys.version_info[:3]))
    print(time.strftime(f"A near hit, nanoseconds, median (least to most); %Y-%m-%d, Python {python}"))
    for name, rounds in results.items():
        print(f"{name:28}{statistics.median(rounds):8.0f} ({min(rounds):.0f} to {max(rounds):.0f})")
    if kit is not None:
        kit.close()


if __name__ == "__main__":
    main()
