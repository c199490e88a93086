"""Outage times through Python: 32 asyncio readers on 3 + 3 nodes; a primary is killed, one hangs, all hang.

Prints, for each fault, the failed reads, the worst read, and the p99 from one and from two seconds after the fault.
"""

from __future__ import annotations

import asyncio
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python/tests"))

from failsoft import Router  # noqa: E402
from testkit import Kit  # noqa: E402

READERS = 32
KEYS = 10_000
SECONDS = {"kill": 7.0, "hang": 7.0, "all hung": 5.0}


async def store(key: str) -> str:
    await asyncio.sleep(0.002)
    return "v" + key[1:]


async def read(router: Router, reader: int, until: float, seen: list[tuple[float, float, bool, str]]) -> None:
    at = reader * 7919
    while (began := time.monotonic()) < until:
        at += 104_729
        key = f"k{at % KEYS}"
        try:
            outcome = await router.resolve(key, store)
            failed, source = outcome.value != b"v" + key.encode()[1:], outcome.served_by
        except Exception as error:
            failed, source = True, type(error).__name__
        seen.append((began, time.monotonic() - began, failed, source))
        await asyncio.sleep(0.001)


def p99(reads: list[float]) -> str:
    return f"{sorted(reads)[int(len(reads) * 0.99)] * 1000:8.1f}" if reads else "       -"


async def outage(router: Router, kit: Kit, name: str) -> None:
    seen: list[tuple[float, float, bool, str]] = []
    until = time.monotonic() + 1 + SECONDS[name]
    readers = [asyncio.create_task(read(router, i, until, seen)) for i in range(READERS)]
    await asyncio.sleep(1)
    fault = time.monotonic()
    match name:
        case "kill":
            await asyncio.to_thread(kit.ask, "kill", node=0)
        case "hang":
            kit.ask("hang", node=1)
        case _:
            # The killed one stays dead: it cannot be hung.
            for node in range(1, 6):
                kit.ask("hang", node=node)
    await asyncio.gather(*readers)
    sources: dict[str, int] = {}
    for _, _, _, source in seen:
        sources[source] = sources.get(source, 0) + 1
    failed = sum(f for _, _, f, _ in seen)
    worst = max(took for _, took, _, _ in seen) * 1000
    later = [p99([took for began, took, _, _ in seen if began > fault + after]) for after in (1, 2)]
    print(f"{name:10} {len(seen):8} {failed:6} {worst:8.1f} {later[0]} {later[1]}  {sources}")


async def main() -> None:
    kit = Kit()
    try:
        addresses = kit.cluster(3, 1)
        async with Router(addresses) as router:
            await router.ready(30)
            for i in range(KEYS):
                await router.set(f"k{i}", f"v{i}")
            print("fault         reads failed    worst  p99 >1s  p99 >2s  by source; times in ms")
            for name in SECONDS:
                await outage(router, kit, name)
    finally:
        kit.close()


asyncio.run(main())
