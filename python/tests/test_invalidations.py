"""What `invalidate` promises: nothing older is read from the call on, whoever asks and however its caller ends."""

from __future__ import annotations

import asyncio
import binascii
import copy
import functools
import itertools
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import failsoft
import pytest
import uvloop
from conftest import LONG, eventually, run
from failsoft import PendingInvalidation, Router, blocking
from testkit import Kit

DOWN = ["127.0.0.1:1"]
#: A hung node is noticed before the cluster does, which takes two seconds.
SHORT: dict[str, Any] = {"attempt_timeout": 0.4, "deadline": 1.2}
NEW_LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Text(str):
    """A key whose `encode` is not what is stored."""

    def encode(self, *_: Any) -> bytes:
        return b"elsewhere"


def key_of_node(name: str, node: int) -> str:
    """A key in the slots of one of three nodes, and not near their borders."""
    slots = [range(1_000, 5_000), range(6_000, 10_000), range(12_000, 16_000)][node]
    keys = (f"{name}:{i}" for i in itertools.count())
    return next(key for key in keys if binascii.crc_hqx(key.encode(), 0) % 16_384 in slots)


def invalidated(router: Router | blocking.Router) -> int:
    count: int = router.health()["counters"]["invalidations"]
    return count


def owed(router: Router | blocking.Router) -> int:
    count: int = router.health()["invalidations_owed"]
    return count


def not_filled(router: Router | blocking.Router) -> int:
    return sum(count["count"] for count in router.health()["counters"]["fills_skipped"])


def was_not_filled(router: Router | blocking.Router, before: int) -> bool:
    return not_filled(router) == before + 1


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_keys_of_every_type_are_gone(
    cluster: list[str], patient: dict[str, Any], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    keys: list[Any] = [
        "inv:grün",
        b"inv:\xff\x00",
        bytearray(b"inv:array"),
        memoryview(b"inv:view"),
        Text("inv:sub"),
        "",
    ]

    async def main() -> None:
        async with Router(cluster, fill=False, **patient) as router:
            for key in [*keys, "inv:other"]:
                await router.set(key, "old")
            call = router.invalidate(*keys)
            assert asyncio.isfuture(call)
            await call
            for key in keys:
                outcome = await router.resolve(key, lambda _: b"new")
                assert (outcome.value, outcome.served_by) == (b"new", "secondary"), key
            assert await router.get_with_fallback("inv:other") == b"old"
            assert (invalidated(router), owed(router)) == (len(keys), 0)
            await router.invalidate()
            assert invalidated(router) == len(keys)

    loop = new_loop()
    loop.run_until_complete(asyncio.wait_for(main(), LONG))
    loop.close()
    with blocking.Router(cluster, fill=False, **patient) as router:
        for key in keys:
            router.set(key, "old")
        router.invalidate(*keys)
        router.invalidate()
        assert [router.get_with_fallback(key) for key in keys] == [None] * len(keys)
        assert invalidated(router) == len(keys)


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_from_the_call_on_nobody_joins_a_load_that_began_before(
    cluster: list[str], patient: dict[str, Any], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    # The cluster is that of the tests before, and a value may be filled.
    key = f"inv:under-way:{new_loop.__module__}"

    async def main() -> None:
        async with Router(cluster, **patient) as router:
            began, go = asyncio.Event(), asyncio.Event()

            async def slow(_key: str) -> bytes:
                began.set()
                await go.wait()
                return b"old"

            early = router.get_with_fallback(key, slow)
            await began.wait()
            # Not awaited, and the loop has no turn: what it promises holds when it has been called.
            call = router.invalidate(key)
            assert (router.health()["invalidations"], router.health()["flights"]) == (1, 0)
            late = await router.resolve(key, lambda _: b"new")
            assert (late.value, late.served_by, late.coalesced) == (b"new", "secondary", False)
            go.set()
            assert await early == b"old"
            await call
        # Closing lets what is written back arrive. That of the late one may be written or not: it is right.
        async with Router(cluster, **patient) as router:
            assert await router.get_with_fallback(key) in (None, b"new")

    loop = new_loop()
    loop.run_until_complete(asyncio.wait_for(main(), LONG))
    loop.close()


def test_cancelling_does_not_stop_it(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, fill=False, **patient) as router:
            keys = [f"inv:cancel:{i}" for i in range(100)]
            for key in keys:
                await router.set(key, "old")
            for key in keys[:50]:
                call = router.invalidate(key)
                assert call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call

            async def task(key: str) -> None:
                await router.invalidate(key)

            tasks = [asyncio.create_task(task(key)) for key in keys[50:]]
            await asyncio.sleep(0)
            for one in tasks:
                one.cancel()
            assert all(
                isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*tasks, return_exceptions=True)
            )
            for key in keys:
                assert (await router.resolve(key, lambda _: b"new")).value == b"new"
            await eventually("all are told", lambda: invalidated(router) == 100 and owed(router) == 0)
            assert [await router.get_with_fallback(key) for key in keys] == [None] * 100

    run(main())


def test_a_callback_invalidates_its_own_key_and_others(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            for own, other in (("inv:own", "inv:others"), ("inv:own:once-more", "inv:own:once-more")):
                await router.set("inv:others", "old")

                async def load(key: str, other: str = other) -> str:
                    await router.invalidate(key, other)
                    return f"loaded {key}"

                before = not_filled(router)
                outcome = await router.resolve(own, load)
                assert (outcome.value, outcome.served_by) == (f"loaded {own}".encode(), "secondary")
                await eventually("it is kept nowhere", functools.partial(was_not_filled, router, before))
                assert await router.get_with_fallback(own) is None
            assert await router.get_with_fallback("inv:others") == b"old"
            # A plain callback cannot wait for it, and need not.
            calls: list[asyncio.Future[None]] = []

            def plain(key: str) -> str:
                calls.append(router.invalidate(key))
                return "loaded"

            assert await router.get_with_fallback("inv:plain", plain) == b"loaded"
            await calls[0]

    run(main())
    with blocking.Router(cluster, **patient) as router:

        def load(key: str) -> str:
            router.invalidate(key, "inv:others")
            return f"loaded {key}"

        assert router.get_with_fallback("inv:threads:own", load) == b"loaded inv:threads:own"
        run(eventually("it is kept nowhere", functools.partial(was_not_filled, router, 0)))
        assert router.get_with_fallback("inv:threads:own") is None
        assert router.get_with_fallback("inv:others") is None


def test_threads_never_read_what_is_older(cluster: list[str], patient: dict[str, Any]) -> None:
    versions, told = dict.fromkeys("abcd", 0), dict.fromkeys("abcd", 0)
    done = threading.Event()

    def write(router: blocking.Router, key: str) -> None:
        for version in range(1, 101):
            versions[key] = version
            router.invalidate(f"inv:race:{key}")
            told[key] = version

    def read(router: blocking.Router, key: str) -> int:
        reads = 0
        while not done.is_set() or reads < 100:
            floor = told[key]
            value = router.get_with_fallback(f"inv:race:{key}", lambda _: str(versions[key]))
            assert int(value or b"") >= floor
            reads += 1
        return reads

    with (
        blocking.Router(cluster, **patient) as ours,
        blocking.Router(cluster, **patient) as theirs,
        ThreadPoolExecutor(12) as pool,
    ):
        # For each key a reader through the router that invalidates, and one through another, which hears of nothing: it
        # is alone there, so that it joins no load that began before.
        readers = [pool.submit(read, router, key) for router in (ours, theirs) for key in versions]
        writers = [pool.submit(write, ours, key) for key in versions]
        try:
            for writer in writers:
                writer.result(LONG)
        finally:
            done.set()
        for reader in readers:
            assert reader.result(LONG) >= 100
        assert invalidated(ours) == 400


def check_incomplete(error: failsoft.InvalidationIncomplete, key: str, steps: set[str]) -> None:
    assert isinstance(error, failsoft.FailsoftError) and error.code == "INVALIDATION_INCOMPLETE"
    assert {(lacks.key, lacks.step) for lacks in error.pending} == {(key.encode(), step) for step in steps}
    for lacks in error.pending:
        assert lacks.cause in get_args(failsoft.Cause) and f"{lacks.step} ({lacks.cause})" in str(error)


def test_while_its_node_hangs_a_key_is_read_from_the_fallback(hangable: Kit, patient: dict[str, Any]) -> None:
    async def main() -> None:
        key, other = key_of_node("inv:hung", 0), key_of_node("inv:well", 1)
        async with Router(hangable.addresses, **patient) as stores:
            await stores.set(key, "old")
            await stores.set(other, "old")
        async with Router(hangable.addresses, **SHORT) as router:
            await router.ready(10)
            hangable.ask("hang", node=0)
            call = router.invalidate(key, other)
            at_once = await router.resolve(key, lambda _: b"new")
            assert (at_once.value, at_once.served_by, at_once.reason) == (b"new", "secondary", "invalidated")
            with pytest.raises(failsoft.InvalidationIncomplete) as incomplete:
                await call
            check_incomplete(incomplete.value, key, {"key"})
            assert owed(router) == 1
            after = await router.resolve(key, lambda _, reason: reason)
            assert (after.value, after.served_by, after.reason) == (b"invalidated", "secondary", "invalidated")
            nothing = await router.resolve(key)
            assert (nothing.value, nothing.served_by, nothing.reason) == (None, "none", "invalidated")
            hangable.ask("resume", node=0)
            await eventually("it is sent again", lambda: owed(router) == 0)
            await asyncio.to_thread(hangable.ask, "wait_until_ok")
            await eventually("it is announced", lambda: invalidated(router) >= 2)
            outcome = await router.resolve(key, lambda _: b"new")
            # The node is asked again, if it can be.
            assert outcome.value == b"new" and (outcome.attempts > 0 or outcome.reason != "invalidated")

    run(main())


def test_an_announcement_that_is_missing_is_told_in_threads(hangable: Kit, patient: dict[str, Any]) -> None:
    # Its mark goes to the other half of the slots, which another node owns.
    key = key_of_node("inv:echo", 0)
    slot = (binascii.crc_hqx(key.encode(), 0) % 16_384 + 8_192) % 16_384
    node = 1 if slot < 10_923 else 2
    with blocking.Router(hangable.addresses, **patient) as stores:
        stores.set(key, "old")
    with blocking.Router(hangable.addresses, fill=False, **SHORT) as router:
        router.ready(10)
        hangable.ask("hang", node=node)
        with pytest.raises(failsoft.InvalidationIncomplete) as incomplete:
            router.invalidate(key)
        check_incomplete(incomplete.value, key, {"echo"})
        assert owed(router) == 0 and router.get_with_fallback(key) is None
        hangable.ask("resume", node=node)
        run(eventually("it is announced", lambda: invalidated(router) >= 1))


def test_what_is_pending_is_copied_and_pickled() -> None:
    with blocking.Router(DOWN, deadline=0.1) as router, pytest.raises(failsoft.InvalidationIncomplete) as wrong:
        router.invalidate("down:1", b"down:\xff")
    error = wrong.value
    steps = [PendingInvalidation(key, step, "no_view") for key in (b"down:1", b"down:\xff") for step in ("key", "echo")]
    assert sorted(error.pending) == sorted(steps) and isinstance(error.pending, tuple)
    assert str(error).startswith("2 of the keys are not invalidated everywhere yet")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is failsoft.InvalidationIncomplete and str(again) == str(error)
        assert again.pending == error.pending and type(again.pending[0]) is PendingInvalidation
        assert again.code == error.code


@pytest.mark.parametrize("kind", [Router, blocking.Router])
def test_bad_keys_are_told_by_the_call_and_none_is_invalidated(kind: type[Any]) -> None:
    released = memoryview(b"x")
    released.release()
    bad: list[tuple[tuple[Any, ...], str]] = [
        ((["a", "b"],), "list; allowed: bytes, str, bytearray or memoryview"),
        (("a", 1), "int; allowed: bytes"),
        (("a", None), "NoneType; allowed: bytes"),
        (("\ud800",), "lone surrogate"),
        ((released,), "released"),
        (tuple(map(str, range(1_000_001))), "more than 1000000 keys in one call"),
    ]

    async def main() -> None:
        router = kind(DOWN)
        for keys, problem in bad:
            with pytest.raises(failsoft.InvalidArgument, match=problem) as wrong:
                router.invalidate(*keys)
            assert wrong.value.argument == "keys"
        with pytest.raises(TypeError, match=r"^Router\.invalidate\(\) got an unexpected keyword argument 'key'"):
            router.invalidate(key="a")
        assert router.health()["invalidations"] == 0
        under_way = router.invalidate("a") if kind is Router else None
        if under_way is not None:
            await router.close()
            with pytest.raises(failsoft.Closed):
                await under_way
        else:
            router.close()
        for keys in ((), ("a",)):
            with pytest.raises(failsoft.Closed):
                router.invalidate(*keys)

    run(main())


def test_a_key_that_changes_after_the_call_was_copied(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, fill=False, **patient) as router:
            for key in ("inv:buf:a", "inv:buf:b"):
                await router.set(key, "old")
            buffer = bytearray(b"inv:buf:a")
            calls = [
                functools.partial(router.invalidate, buffer),
                functools.partial(router.invalidate, memoryview(buffer)),
            ]
            under_way = [call() for call in calls]
            buffer[:] = b"inv:buf:b"
            await asyncio.gather(*under_way)
            assert await router.get_many_with_fallback(["inv:buf:a", "inv:buf:b"], dict.fromkeys) == [None, b"old"]

    run(main())
