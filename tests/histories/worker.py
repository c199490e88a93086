"""A worker in Python: reads and changes keys until its input ends, and writes down what came of it (src/record.rs)."""

import argparse
import asyncio
import itertools
import json
import os
import random
import sys
import time
from typing import Any

import failsoft

READERS = 24
WRITERS = 6
FLUSH = 0.02
SAMPLE = 0.05
# More bytes than this are not kept: who writes waits.
FULL = 1 << 20
SLOTS = 24
BUDGETS = (None, None, None, None, None, None, 0.0, 0.7)


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def name(key: int) -> str:
    """As src/services.rs has it."""
    return f"history:{{{key % SLOTS}}}:{key // SLOTS}"


def settings(text: str) -> dict[str, Any]:
    """`key_ms` is a duration, which Python has in seconds."""
    known: dict[str, Any] = json.loads(text)
    return {key.removesuffix("_ms"): value / 1000 if key.endswith("_ms") else value for key, value in known.items()}


class Source:
    """The store: any number of requests side by side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.answers: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self.ids = itertools.count()
        self.hands_out = asyncio.create_task(self.hand_out(reader))

    async def hand_out(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            number, version, at = map(int, line.split())
            answer = self.answers.pop(number, None)
            # Its load may have been given up.
            if answer is not None and not answer.done():
                answer.set_result((version, at))

    async def ask(self, kind: str, *words: int) -> tuple[int, int]:
        number = next(self.ids)
        answer: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self.answers[number] = answer
        self.writer.write(" ".join([kind, str(number), *map(str, words)]).encode() + b"\n")
        return await answer


class Worker:
    def __init__(self, task: argparse.Namespace, router: failsoft.Router[bytes], source: Source) -> None:
        self.router, self.source = router, source
        self.keys, self.held = task.keys, task.held
        self.chance = random.Random(task.seed)
        self.ids = itertools.count()
        self.lines: list[str] = []
        self.size = 0

    def put(self, line: str) -> None:
        """A line that ends now; one thread writes all, so they are in the order of their times."""
        self.lines.append(line)
        self.size += len(line)

    async def work(self, reads: bool, longest: float) -> None:
        while True:
            await asyncio.sleep(longest * self.chance.random())
            if self.size > FULL:
                continue
            # Half of the reads are of an eighth of the keys.
            key = int(self.keys * self.chance.random() ** (3 if reads else 1))
            if reads:
                await self.read(key)
            elif self.chance.randrange(100) < self.held:
                await self.write_held(key)
            else:
                await self.write(key)

    async def read(self, key: int) -> None:
        async def load(_: str) -> str:
            version, at = await self.source.ask("L", key)
            return f"{version} {at}"

        budget = self.chance.choice(BUDGETS)
        start = now()
        try:
            outcome = await self.router.resolve(name(key), load, staleness_budget=budget)
        except failsoft.FailsoftError as error:
            self.put(f"E {key} {start} {now()} {type(error).__name__}\n")
            return
        end = now()
        version, read_at = map(int, outcome.value.split()) if outcome.value else (0, 0)
        age = -1 if outcome.age is None else int(outcome.age * 1e6)
        allowed = -1 if budget is None else int(budget * 1e6)
        self.put(
            f"R {key} {start} {end} {version} {read_at} {outcome.served_by} {outcome.reason or '-'} {age} {allowed} "
            f"{int(outcome.coalesced)} {outcome.node or '-'}\n"
        )

    async def write(self, key: int) -> None:
        version, _ = await self.source.ask("C", key, 0, 0)
        # It begins here, and not when it is first awaited.
        invalidation = self.router.invalidate(name(key))
        await self.done(self.called(key, version, held=False), invalidation)

    async def write_held(self, key: int) -> None:
        begun = now()
        writing = self.router.writing(name(key))
        try:
            await writing.__aenter__()
        except failsoft.FailsoftError:
            # One that cannot hold its key leaves the store alone.
            return
        since = now()
        await asyncio.sleep(self.chance.random() * 0.02)
        version, _ = await self.source.ask("C", key, begun, since)
        await asyncio.sleep(self.chance.random() * 0.02)
        ending = asyncio.ensure_future(writing.__aexit__(None, None, None))
        # A task of its own begins with the loop's next turn, in which it calls for the invalidation.
        await asyncio.sleep(0)
        await self.done(self.called(key, version, held=True), ending)

    def called(self, key: int, version: int, *, held: bool) -> int:
        number = next(self.ids)
        self.put(f"C {number} {key} {version} {now()} {int(held)}\n")
        return number

    async def done(self, number: int, ending: "asyncio.Future[None]") -> None:
        try:
            await ending
            complete = 1
        except failsoft.FailsoftError:
            complete = 0
        self.put(f"D {number} {now()} {complete}\n")

    async def sample(self) -> None:
        """Says again and again whether all nodes are heard."""
        while True:
            health = self.router.health()
            owners = [node for node in health["nodes"] if node["slots"]]
            heard = health["slots_assigned"] == 16384 and all(node["listening"] == "heard" for node in owners)
            self.put(f"H {now()} {int(heard)}\n")
            await asyncio.sleep(SAMPLE)

    async def flush(self) -> None:
        while True:
            text, self.lines, self.size = "".join(self.lines), [], 0
            sys.stdout.write(text)
            sys.stdout.flush()
            await asyncio.sleep(FLUSH)


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    for text in ("store", "nodes", "settings"):
        arguments.add_argument(f"--{text}", required=True)
    for number in ("process", "keys", "seed", "reads", "writes", "held"):
        arguments.add_argument(f"--{number}", required=True, type=int)
    task = arguments.parse_args()
    source = Source(*await asyncio.open_unix_connection(task.store))
    source.writer.write(f"P {task.process}\n".encode())
    router = failsoft.Router(task.nodes, **settings(task.settings))
    worker = Worker(task, router, source)
    running = [asyncio.create_task(worker.sample()), asyncio.create_task(worker.flush())]
    for tasks, rate, reads in ((READERS, task.reads, True), (WRITERS, task.writes, False)):
        if rate:
            running += [asyncio.create_task(worker.work(reads, 2 * tasks / rate)) for _ in range(tasks)]
    # Its end says that the run is over, also when the program that started this one was killed.
    ends = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    done, _ = await asyncio.wait([ends, *running], return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()
    os._exit(0)


asyncio.run(main())
