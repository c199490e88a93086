"""What the near cache serves: in the call itself, by a Future that is done, and never what may be out of date."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Callable
from typing import Any

import failsoft
import pytest
from conftest import run
from failsoft import Router, blocking
from test_leaks import gone, held, resident


@pytest.fixture
def near(patient: dict[str, Any]) -> dict[str, Any]:
    """Settings of a router with a near cache."""
    return {**patient, "near_cache_bytes": 1 << 20}


async def never(key: str) -> bytes:
    raise AssertionError(f"{key} went to the callback")


def count(router: Any) -> int:
    """The reads that near copies have served."""
    return sum(c["count"] for c in router.health()["counters"]["reads"] if c["what"] == "near")


async def hit(router: Router[Any], key: str, value: Any, read: Callable[[], Any] | None = None) -> Any:
    """Reads until a near copy serves, by a Future that is done; every read on the way has this value."""
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        future = read() if read is not None else router.get_with_fallback(key, never)
        if future.done():
            return future
        given = await future
        assert getattr(given, "value", given) == value
        # Which reads make a copy is a matter of chance.
        assert asyncio.get_running_loop().time() < deadline, f"no near copy of {key}"


def test_a_near_hit_is_a_future_that_is_done(cluster: list[str], near: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **near) as router:
            await router.set("near:a", b"\x00\xff")
            read = await hit(router, "near:a", b"\x00\xff")
            assert isinstance(read, asyncio.Future) and read.done() and read.get_loop() is asyncio.get_running_loop()
            assert await read == b"\x00\xff" and await read == b"\x00\xff"
            assert not read.cancel()
            told = asyncio.Event()
            read.add_done_callback(lambda _: told.set())
            await told.wait()
            assert await asyncio.ensure_future(read) == await asyncio.wait_for(read, 1) == await asyncio.shield(read)
            done, pending = await asyncio.wait({read})
            assert done == {read} and not pending
            outcome = await hit(router, "near:a", b"\x00\xff", lambda: router.resolve("near:a", never))
            assert outcome.done() and (await outcome).value == b"\x00\xff"
            account = await outcome
            assert (account.served_by, account.reason, account.attempts, account.node) == ("near", None, 0, None)
            assert 0 <= account.age <= 1 and not account.coalesced

    run(main())


def test_many_in_one_gather_and_from_tasks(cluster: list[str], near: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **near) as router:
            for i in range(20):
                await router.set(f"near:{i}", f"v{i}")
            for i in range(20):
                await hit(router, f"near:{i}", f"v{i}".encode())

            async def read(i: int) -> bytes | None:
                return await router.get_with_fallback(f"near:{i % 20}", never)

            before = count(router)
            expected = [f"v{i % 20}".encode() for i in range(1_000)]
            assert await asyncio.gather(*(router.get_with_fallback(f"near:{i % 20}", never) for i in range(1_000))) == (
                expected
            )
            assert await asyncio.gather(*(asyncio.create_task(read(i)) for i in range(1_000))) == expected
            assert count(router) > before

    run(main())


def test_an_invalidation_counts_from_its_call_on(cluster: list[str], near: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **near) as router:
            for round_ in range(20):
                await router.set("near:inv", f"{round_}")
                await hit(router, "near:inv", f"{round_}".encode())
                told = router.invalidate("near:inv")
                read = router.get_with_fallback("near:inv", lambda _: b"loaded")
                assert not read.done()
                assert await read == b"loaded"
                await told

    run(main())


def test_a_bad_call_fails_as_ever(cluster: list[str], near: dict[str, Any]) -> None:
    async def main() -> Router:
        router = Router(cluster, **near)
        await router.set("near:bad", b"v")
        await hit(router, "near:bad", b"v")
        get: Any = router.get_with_fallback
        bad: list[tuple[Any, Any, Any]] = [
            (7, never, 1),
            ("near:bad", 7, 1),
            ("near:bad", never, 0),
            ("\udc80", never, 1),
        ]
        for key, fallback, ttl in bad:
            with pytest.raises(failsoft.InvalidArgument):
                get(key, fallback, ttl=ttl)
        with pytest.raises(failsoft.DeadlineExceeded):
            await router.get_with_fallback("near:bad", never, deadline=0)
        await router.close()
        with pytest.raises(failsoft.Closed):
            router.get_with_fallback("near:bad", never)
        return router

    run(main())

    async def open_one() -> Router:
        router = Router(cluster, **near)
        await router.set("near:bad", b"v")
        await hit(router, "near:bad", b"v")
        return router

    router = run(open_one())
    with pytest.raises(RuntimeError, match="no running event loop"):
        router.get_with_fallback("near:bad", never)

    async def close() -> None:
        await router.close()

    run(close())


class Text(Router[str]):
    """With a constructor of its own."""

    def __init__(self, nodes: list[str], near: dict[str, Any]) -> None:
        super().__init__(nodes, decode_responses=True, **near)


def test_text_and_a_subclass(cluster: list[str], near: dict[str, Any]) -> None:
    async def main() -> None:
        async with Text(cluster, near) as router:
            for value in ("grün 🌳", "plain", ""):
                await router.set("near:text", value)
                read = await hit(router, "near:text", value)
                assert read.done() and await read == value
            outcome = await hit(router, "near:text", "", lambda: router.resolve("near:text"))
            assert (await outcome).value == ""
            await router.set("near:raw", b"v\xff")
            async with Router(cluster, **near) as raw:
                # Which reads make a copy is a matter of chance, and no value that fails tells who served it.
                read = None
                while read is None or not read.done():
                    await raw.get_with_fallback("near:raw")
                    if read is not None:
                        await asyncio.wait({read})
                        assert isinstance(read.exception(), failsoft.DecodeError)
                    read = router.get_with_fallback("near:raw", never)
                error = read.exception()
                assert isinstance(error, failsoft.DecodeError) and error.key == b"near:raw"

    run(main())


def test_the_blocking_router(cluster: list[str], near: dict[str, Any]) -> None:
    def load(key: str) -> bytes:
        raise AssertionError(f"{key} went to the callback")

    with blocking.Router(cluster, **near) as router:
        router.set("near:blocking", b"v")
        deadline = time.monotonic() + 30
        while count(router) < 100 and time.monotonic() < deadline:
            assert router.get_with_fallback("near:blocking", load) == b"v"
        assert count(router) >= 100
        router.invalidate("near:blocking")
        assert router.get_with_fallback("near:blocking", lambda _: b"loaded") == b"loaded"
    with pytest.raises(failsoft.Closed):
        router.get_with_fallback("near:blocking", load)


def test_near_hits_leave_nothing(cluster: list[str], near: dict[str, Any]) -> None:
    reads: weakref.WeakSet[Any] = weakref.WeakSet()

    async def main() -> tuple[int, int]:
        async with Router(cluster, **near) as router:
            await router.set("near:leak", b"x" * 1_000)
            await hit(router, "near:leak", b"x" * 1_000)
            sizes = []
            for round_ in range(10):
                for _ in range(20_000):
                    read = router.get_with_fallback("near:leak", never)
                    if round_ == 0:
                        reads.add(read)
                    assert len(await read or b"") == 1_000
                del read
                gc.collect()
                sizes.append(resident())
            assert gone(reads), held(reads)
            return sizes[0], max(sizes[1:])

    first, most = run(main())
    assert most <= first * 1.05, f"{first} bytes after the first tenth, later {most}"
