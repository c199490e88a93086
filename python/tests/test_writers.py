"""Writers that are killed around their commits: when a hold is over, nothing older than the last commit is read."""

from __future__ import annotations

import asyncio
import functools
import mmap
import multiprocessing
import os
import pathlib
import random
import time
from multiprocessing.process import BaseProcess
from typing import Any

from conftest import LONG, eventually
from failsoft import Router, blocking

#: `FAILSOFT_KILLS=1000` is the whole test.
KILLS = int(os.environ.get("FAILSOFT_KILLS", "40"))
KEYS = 4
#: Seconds.
HOLD = 0.4
PAUSE = 0.004

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])


class Store:
    """What all processes share, which a killed one cannot leave half written: for each key some numbers in a file."""

    FIELDS = ("version", "left", "floor", "reads")

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

    @classmethod
    def make(cls, path: pathlib.Path) -> Store:
        path.write_bytes(bytes(8 * len(cls.FIELDS) * (KEYS + 1)))
        return cls(str(path))

    def get(self, field: str, of: int) -> int:
        return self._cells[of * len(self.FIELDS) + self.FIELDS.index(field)]

    def put(self, field: str, of: int, number: int) -> None:
        self._cells[of * len(self.FIELDS) + self.FIELDS.index(field)] = number

    @property
    def over(self) -> bool:
        return self.get("version", KEYS) != 0

    def end(self) -> None:
        self.put("version", KEYS, 1)


def name(of: int) -> str:
    return f"writers:{of}"


def write(path: str, nodes: list[str], settings: dict[str, Any], of: int) -> None:
    """Commits one version after the other, until it is killed; if the test fails before, until that is over."""
    store = Store(path)
    with blocking.Router(nodes, hold=HOLD, **settings) as router:
        while not store.over:
            began = time.monotonic()
            with router.writing(name(of)):
                time.sleep(random.random() * PAUSE)
                version = store.get("version", of) + 1
                # On a machine that stood still, the hold may be over.
                if time.monotonic() - began < HOLD / 2:
                    store.put("version", of, version)
                time.sleep(random.random() * PAUSE)
            store.put("left", of, version)
            time.sleep(random.random() * PAUSE)


def read(path: str, nodes: list[str], settings: dict[str, Any]) -> None:
    """Reads each key all the time, one read after the other, so that none joins a load that began before it."""
    store = Store(path)

    async def reader(router: Router, of: int) -> None:
        async def load(_key: str) -> str:
            version = store.get("version", of)
            await asyncio.sleep(random.random() * PAUSE)
            return str(version)

        while not store.over:
            floor = store.get("floor", of)
            value = await router.get_with_fallback(name(of), load)
            assert value is not None and int(value) >= floor, (of, value, floor)
            # Two processes count, so that some are lost; it is enough to know that there are any.
            store.put("reads", of, store.get("reads", of) + 1)
            await asyncio.sleep(random.random() * PAUSE)

    async def main() -> None:
        async with Router(nodes, **settings) as router:
            await asyncio.gather(*(reader(router, of) for of in range(KEYS)))

    asyncio.run(main())


def commits(store: Store, of: int, version: int) -> bool:
    return store.get("version", of) >= version


async def kill_writers(store: Store, start: Any, router: Router, of: int, count: int) -> int:
    """Kills them at any moment, and looks at what is left behind; gives how many had committed and not left."""
    inside = 0
    for _ in range(count):
        writer: BaseProcess = start(of)
        await eventually("it commits", functools.partial(commits, store, of, store.get("version", of) + 2))
        await asyncio.sleep(random.random() * 4 * PAUSE)
        writer.kill()
        await asyncio.to_thread(writer.join, LONG)
        version = store.get("version", of)
        inside += version > store.get("left", of)
        # As long as it is held, it is loaded by every read; what is then in the cluster stays there.
        while (outcome := await router.resolve(name(of), lambda _: b"")).served_by != "primary":  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)
        assert outcome.value == str(version).encode(), (of, outcome, version)
        store.put("floor", of, version)
    return inside


def test_nothing_older_than_a_killed_writers_commit_is_read(
    cluster: list[str], patient: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "store"
    store = Store.make(path)
    readers = [processes.Process(target=read, args=(str(path), cluster, patient)) for _ in range(2)]

    def start(of: int) -> BaseProcess:
        writer = processes.Process(target=write, args=(str(path), cluster, patient, of))
        writer.start()
        return writer

    async def main() -> int:
        async with Router(cluster, fill=False, **patient) as router:
            each = [KILLS // KEYS + (of < KILLS % KEYS) for of in range(KEYS)]
            kills = (kill_writers(store, start, router, of, count) for of, count in enumerate(each))
            return sum(await asyncio.gather(*kills))

    for reader in readers:
        reader.start()
    try:
        inside = asyncio.run(asyncio.wait_for(main(), LONG + KILLS))
    finally:
        store.end()
        for reader in readers:
            reader.join(LONG)
    assert [reader.exitcode for reader in readers] == [0, 0]
    assert all(store.get("reads", of) for of in range(KEYS))
    told = f"{inside} of {KILLS} were killed between commit and invalidation"
    print(told)
    # Or else nothing that matters was tried.
    assert inside > 0, told
