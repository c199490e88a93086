"""What asyncio readers and threads see while their cluster is killed and hung: no failed read. No copies stand in."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

from conftest import eventually, run
from failsoft import Router, blocking
from testkit import Kit

READERS = 32
KEYS = 2_000


class Load:
    """Readers that never stop, and a count of what they saw."""

    def __init__(self, router: Router) -> None:
        self.failed: list[object] = []
        self.seen: Counter[str] = Counter()
        self._stop = False
        self._readers = [asyncio.create_task(self._read(router, i)) for i in range(READERS)]

    async def _read(self, router: Router, reader: int) -> None:
        at = reader * 7919
        while not self._stop:
            at += 104_729
            key = f"k{at % KEYS}"
            try:
                outcome = await router.resolve(key, store)
                if outcome.value != b"v" + key.encode()[1:]:
                    self.failed.append(outcome)
                self.seen[outcome.served_by] += 1
                self.seen[f"{outcome.node} {outcome.served_by}"] += 1
            except Exception as error:
                self.failed.append(error)
            await asyncio.sleep(0.001)

    async def until(self, what: str) -> None:
        before = self.seen[what]
        await eventually(f"served by {what}", lambda: self.seen[what] > before + READERS)

    async def finish(self) -> None:
        self._stop = True
        await asyncio.gather(*self._readers)
        assert not self.failed, f"{len(self.failed)} reads failed, such as {self.failed[0]!r}"


async def store(key: str) -> str:
    await asyncio.sleep(0.002)
    return "v" + key[1:]


async def prepare(router: Router) -> None:
    await router.ready(30)
    await eventually("all slots served", lambda: bool(router.health()["slots_ok"] == 16384))
    for i in range(KEYS):
        await router.set(f"k{i}", f"v{i}")


def test_a_primary_is_killed(breakable: Kit) -> None:
    async def main() -> None:
        async with Router(breakable.addresses, standin_bytes=0) as router:
            await prepare(router)
            load = Load(router)
            await load.until("primary")
            await asyncio.to_thread(breakable.ask, "kill", node=0)
            await load.until("replica")
            await asyncio.to_thread(breakable.ask, "wait_promoted", node=3)
            await load.until(f"{breakable.addresses[3]} primary")
            await load.finish()

    run(main())


def test_a_primary_hangs_and_then_everything_is_killed(breakable: Kit) -> None:
    async def main() -> None:
        async with Router(breakable.addresses, standin_bytes=0) as router:
            await prepare(router)
            load = Load(router)
            await load.until("primary")
            breakable.ask("hang", node=0)
            await load.until("replica")
            await asyncio.to_thread(breakable.ask, "wait_promoted", node=3)
            await load.until(f"{breakable.addresses[3]} primary")
            await asyncio.to_thread(breakable.ask, "kill_all")
            await load.until("secondary")
            await load.finish()

    run(main())


def test_threads_read_through_a_kill(breakable: Kit) -> None:
    failed: list[object] = []
    seen: Counter[str] = Counter()
    stop = threading.Event()

    def read(router: blocking.Router, at: int) -> None:
        while not stop.wait(0.001):
            at = (at + 104_729) % KEYS
            try:
                outcome = router.resolve(f"k{at}", lambda key: "v" + key[1:])
                seen[outcome.served_by] += 1
                if outcome.value != f"v{at}".encode():
                    failed.append(outcome)
            except Exception as error:
                failed.append(error)

    async def prepared() -> None:
        async with Router(breakable.addresses) as router:
            await prepare(router)

    run(prepared())
    with blocking.Router(breakable.addresses, standin_bytes=0) as router:
        router.ready(30)
        threads = [threading.Thread(target=read, args=(router, i)) for i in range(8)]
        for thread in threads:
            thread.start()
        run(eventually("primary", lambda: seen["primary"] > 100))
        breakable.ask("kill", node=0)
        run(eventually("replica", lambda: seen["replica"] > 100))
        breakable.ask("kill_all")
        run(eventually("secondary", lambda: seen["secondary"] > 100))
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not failed, f"{len(failed)} reads failed, such as {failed[0]!r}"
