"""Many callers of one key, some of whom go away; several loops, threads and both kinds of router."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import failsoft
import pytest
import uvloop
from conftest import eventually, run
from failsoft import Router, blocking


class Store:
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.started = asyncio.Event()
        self.go = asyncio.Event()

    async def load(self, _key: object) -> bytes:
        self.calls += 1
        self.started.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return b"loaded"


def waiters(router: Router) -> int:
    count: int = router.health()["waiters"]
    return count


def test_a_thousand_callers_and_one_load(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            store = Store()
            reads = [router.resolve("herd:1000", store.load) for _ in range(1000)]
            await eventually("all wait", lambda: waiters(router) == 1000)
            store.go.set()
            outcomes = await asyncio.gather(*reads)
            assert store.calls == 1 and {outcome.value for outcome in outcomes} == {b"loaded"}
            assert sum(outcome.coalesced for outcome in outcomes) == 999

    run(main())


def test_the_first_caller_is_cancelled_and_the_others_are_served(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            store = Store()
            first = router.get_with_fallback("herd:first", store.load)
            await store.started.wait()
            others = [router.get_with_fallback("herd:first", store.load) for _ in range(10)]
            await eventually("all wait", lambda: waiters(router) == 11)
            first.cancel()
            await eventually("it is gone", lambda: waiters(router) == 10)
            store.go.set()
            assert await asyncio.gather(*others) == [b"loaded"] * 10
            assert (store.calls, store.cancelled) == (1, 0)

    run(main())


def test_a_load_that_nobody_waits_for_is_cancelled(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            store = Store()
            reads = [router.get_with_fallback("herd:nobody", store.load) for _ in range(5)]
            await eventually("all wait", lambda: waiters(router) == 5)
            # Before, nobody would be asked at all.
            await store.started.wait()
            for read in reads:
                read.cancel()
            await eventually("it is cancelled", lambda: store.cancelled == 1)
            assert router.health()["flights"] == 0 and store.calls == 1

    run(main())


def test_one_waiters_timeout_takes_nothing_from_the_others(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            store = Store()
            patient_one = router.get_with_fallback("herd:timeout", store.load)
            await store.started.wait()
            with pytest.raises(failsoft.DeadlineExceeded):
                await router.get_with_fallback("herd:timeout", store.load, deadline=0.05)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(router.get_with_fallback("herd:timeout", store.load), 0.05)
            store.go.set()
            assert await patient_one == b"loaded" and store.calls == 1

    run(main())


def test_closing_answers_everybody(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        router = Router(cluster, **patient)
        store = Store()
        reads = [router.get_with_fallback("herd:close", store.load) for _ in range(5)]
        await store.started.wait()
        await router.close()
        results = await asyncio.gather(*reads, return_exceptions=True)
        assert all(isinstance(result, failsoft.Closed) for result in results)
        await eventually("the callback is cancelled", lambda: store.cancelled == 1)

    run(main())


def test_another_waiters_callback_takes_over_when_a_loop_ends(cluster: list[str], patient: dict[str, Any]) -> None:
    with blocking.Router(cluster, **patient) as health:
        router = Router(cluster, **patient)
        started, waiting = threading.Event(), threading.Event()

        async def leader() -> None:
            async def load(_key: str) -> bytes:
                started.set()
                await asyncio.sleep(1000)
                return b"never"

            task = asyncio.ensure_future(router.get_with_fallback("herd:over", load))
            await asyncio.to_thread(waiting.wait, 30)
            # The loop ends with its callback under way.
            assert not task.done()

        async def follower() -> bytes:
            read = router.get_with_fallback("herd:over", lambda _: b"taken over")
            await eventually("both wait", lambda: waiters(router) == 2)
            waiting.set()
            return bytes(await read or b"")

        thread = threading.Thread(target=run, args=(leader(),))
        thread.start()
        assert started.wait(30)
        assert run(follower()) == b"taken over"
        thread.join()
        run(closed(router))
        health.ready(10)


async def closed(router: Router) -> None:
    await router.close()


class Proactor(asyncio.SelectorEventLoop):
    def add_reader(self, *_: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


class Unbegun(asyncio.SelectorEventLoop):
    """Stops when a callback is scheduled, before it begins."""

    def call_soon(self, callback: Any, *arguments: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        if getattr(callback, "__name__", "") == "step":
            self.stop()
        return super().call_soon(callback, *arguments, context=context)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop, Proactor, Unbegun])
def test_a_load_left_behind_on_a_closed_loop_is_taken_over(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    router = Router(["127.0.0.1:1"], deadline=0.1, load_timeout=3000.0)
    loop = new_loop()

    async def load(_key: str) -> bytes:
        loop.stop()
        await asyncio.sleep(1000)
        return b"never"

    # Nobody cancels the task of the load, and no garbage collector comes by.
    loop.call_soon(lambda: router.get_with_fallback("herd:left", load))
    gc.disable()
    try:
        loop.run_forever()
        loop.close()

        async def another() -> Any:
            return await router.get_with_fallback("herd:left", lambda _: b"taken over")

        assert run(another()) == b"taken over"
    finally:
        gc.enable()
    run(closed(router))


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_many_loops_in_many_threads(
    cluster: list[str], patient: dict[str, Any], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    router = Router(cluster, **patient)

    async def work(thread: int) -> int:
        good = 0
        for i in range(50):
            key = f"loops:{thread}:{i}"
            values = await asyncio.gather(*(router.get_with_fallback(key, lambda k: k) for _ in range(8)))
            good += values == [key.encode()] * 8
        return good

    def thread(number: int) -> int:
        loop = new_loop()
        try:
            return loop.run_until_complete(asyncio.wait_for(work(number), 60))
        finally:
            loop.close()

    with ThreadPoolExecutor(8) as pool:
        # Twice: a thread's second loop gets its own state.
        assert list(pool.map(thread, range(16))) == [50] * 16
    run(closed(router))


def test_a_loop_without_add_reader(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            values = await asyncio.gather(*(router.get_with_fallback(f"method:{i}", lambda k: k) for i in range(100)))
            assert values == [f"method:{i}".encode() for i in range(100)]

    loop = Proactor()
    loop.run_until_complete(asyncio.wait_for(main(), 60))
    loop.close()


def test_task_groups_and_wait(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:

            async def one(i: int) -> Any:
                return await router.get_with_fallback(f"group:{i}", lambda k: k)

            tasks = [asyncio.create_task(one(i)) for i in range(20)]
            done, pending = await asyncio.wait(tasks)
            assert len(done) == 20 and not pending
            reads = [router.get_with_fallback(f"group:{i}") for i in range(20)]
            assert len([await read for read in asyncio.as_completed(reads)]) == 20

    run(main())


def test_threads_share_a_load(cluster: list[str], patient: dict[str, Any]) -> None:
    calls, go = [], threading.Event()

    def load(key: str) -> bytes:
        calls.append(threading.get_ident())
        assert go.wait(30)
        return b"loaded"

    with blocking.Router(cluster, **patient) as router, ThreadPoolExecutor(16) as pool:
        router.ready(10)
        reads = [pool.submit(router.resolve, "threads:1", load) for _ in range(16)]
        run(eventually("all wait", lambda: router.health()["waiters"] == 16))
        go.set()
        outcomes = [read.result(30) for read in reads]
        assert len(calls) == 1 and {outcome.value for outcome in outcomes} == {b"loaded"}
