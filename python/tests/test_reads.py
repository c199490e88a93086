"""What a read gives, and what callbacks may do."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
from typing import Any

import failsoft
import pytest
from conftest import eventually, run
from failsoft import Router, blocking
from testkit import Scripted

LOOPS = ["asyncio", "uvloop"]


def test_the_three_answers(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            await router.ready(10)
            await router.set("reads:a", b"\x00\xff")
            assert await router.get_with_fallback("reads:a") == b"\x00\xff"
            assert await router.get_with_fallback(b"reads:none") is None
            outcome = await router.resolve("reads:a")
            assert (outcome.value, outcome.served_by, outcome.reason) == (b"\x00\xff", "primary", None)
            assert outcome.attempts == 1 and outcome.node in cluster and not outcome.coalesced and outcome.age == 0.0
            absent = await router.resolve("reads:none")
            assert (absent.value, absent.served_by, absent.reason) == (None, "none", "absent")
            loaded = await router.resolve("reads:b", lambda key: key + "!", ttl=60)
            assert (loaded.value, loaded.served_by, loaded.reason, loaded.node) == (
                b"reads:b!",
                "secondary",
                "absent",
                None,
            )
            assert repr(absent).startswith("Outcome(value=None, served_by='none'")

    run(main())


def test_text_instead_of_bytes(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, decode_responses=True, **patient) as router:
            await router.set("text:a", "grün")
            assert await router.get_with_fallback("text:a") == "grün"
            assert (await router.resolve("text:a")).value == "grün"

    run(main())


def names_the_key(error: object, key: str, value: bytes) -> None:
    assert isinstance(error, failsoft.DecodeError) and isinstance(error, UnicodeDecodeError) and error.code == "DECODE"
    assert (error.key, error.object, error.start, error.end) == (key.encode(), value, len(value) - 1, len(value))
    assert repr(key) in str(error) and "without `decode_responses`" in str(error)
    copied = pickle.loads(pickle.dumps(error))
    assert str(copied) == str(error) and copied.key == error.key


def test_a_value_that_is_no_text_is_told_with_its_key(cluster: list[str], patient: dict[str, Any]) -> None:
    calls: list[object] = []

    def bad(keys: Any) -> Any:
        calls.append(keys)
        return {key: b"a\xfe" for key in keys} if isinstance(keys, list) else b"a\xfe"

    async def main() -> None:
        async with Router(cluster, **patient) as raw, Router(cluster, decode_responses=True, **patient) as router:
            await raw.set("notext:stored", b"\xff")
            await raw.set("notext:good", "good")
            for read in (router.get_with_fallback, router.resolve):
                with pytest.raises(failsoft.DecodeError) as wrong:
                    await read("notext:stored", bad)
                names_the_key(wrong.value, "notext:stored", b"\xff")
            assert calls == []
            # One load, and each of its readers is told.
            for told in await asyncio.gather(
                *(router.get_with_fallback("notext:given", bad) for _ in range(3)), return_exceptions=True
            ):
                names_the_key(told, "notext:given", b"a\xfe")
            stored, good, given = await router.resolve_many(["notext:stored", "notext:good", "notext:many"], bad)
            names_the_key(stored, "notext:stored", b"\xff")
            assert isinstance(good, failsoft.Outcome) and good.value == "good"
            names_the_key(given, "notext:many", b"a\xfe")
            with pytest.raises(failsoft.DecodeError):
                await router.get_many_with_fallback(["notext:good", "notext:stored"], bad)
            assert await raw.get_with_fallback("notext:stored") == b"\xff"

    run(main())
    with blocking.Router(cluster, decode_responses=True, **patient) as router:
        for read in (router.get_with_fallback, router.resolve):
            with pytest.raises(failsoft.DecodeError) as wrong:
                read("notext:stored", bad)
            names_the_key(wrong.value, "notext:stored", b"\xff")
        _, given = router.resolve_many(["notext:good", "notext:threads"], bad)
        names_the_key(given, "notext:threads", b"a\xfe")


def test_callbacks_of_every_form(cluster: list[str], patient: dict[str, Any]) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    class Store:
        async def load(self, key: str) -> bytes:
            return key.encode()

        def both(self, key: bytes, reason: str) -> bytes:
            return key + b":" + reason.encode()

        async def __call__(self, key: str, reason: str) -> str:
            return f"{key}:{reason}"

    async def default(key: str, retries: int = 3) -> str:
        return f"{key}:{retries}"

    async def of_context(_key: str) -> str:
        await asyncio.sleep(0)
        return variable.get()

    def future(_key: str) -> asyncio.Future[bytes]:
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        done.set_result(b"future")
        return done

    async def main() -> None:
        async with Router(cluster, fill=False, **patient) as router:
            store = Store()
            assert await router.get_with_fallback("form:1", store.load) == b"form:1"
            assert await router.get_with_fallback(b"form:2", store.both) == b"form:2:absent"
            assert await router.get_with_fallback("form:3", store) == b"form:3:absent"
            assert await router.get_with_fallback("form:4", default) == b"form:4:3"
            assert await router.get_with_fallback("form:5", future) == b"future"
            assert await router.get_with_fallback("form:6", lambda _: None) is None
            variable.set("inside")
            assert await router.get_with_fallback("form:7", of_context) == b"inside"
            assert await router.get_with_fallback("form:8", lambda _: variable.get()) == b"inside"

    run(main())


def test_the_callbacks_own_exception_comes_back(cluster: list[str], patient: dict[str, Any]) -> None:
    class Mine(Exception):
        pass

    mine = Mine("broken")
    calls = 0

    async def load(_key: str) -> bytes:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        raise mine

    def plain(_key: str) -> bytes:
        raise mine

    number: Any = lambda _: 42  # noqa: E731

    def stop(_key: str) -> bytes:
        raise StopIteration

    async def main() -> None:
        async with Router(cluster, **patient) as router:
            await router.ready(10)
            reads = [router.get_with_fallback("raise:1", load) for _ in range(10)]
            results = await asyncio.gather(*reads, return_exceptions=True)
            assert calls == 1 and all(result is mine for result in results)
            with pytest.raises(Mine) as caught:
                await router.get_with_fallback("raise:2", plain)
            assert caught.value is mine and "plain" in [entry.name for entry in caught.traceback]
            with pytest.raises(RuntimeError, match="StopIteration"):
                await router.get_with_fallback("raise:3", stop)
            with pytest.raises(
                failsoft.InvalidArgument, match="allowed: bytes, str, bytearray, memoryview or None"
            ) as wrong:
                await router.get_with_fallback("raise:4", number)
            assert isinstance(wrong.value, TypeError) and wrong.value.code == "INVALID_ARGUMENT"
            health = router.health()
            assert health["flights"] == health["waiters"] == 0

    run(main())


def test_bad_arguments_are_told_at_once(cluster: list[str]) -> None:
    async def main() -> None:
        async with Router(cluster) as router:
            bad: Any = 1
            for call in (
                lambda: router.get_with_fallback(bad),
                lambda: router.get_with_fallback("k", bad),
                lambda: router.get_with_fallback("k", ttl=-1.0),
                lambda: router.get_with_fallback("k", deadline=float("nan")),
                lambda: router.resolve("k", ttl=0.0),
                lambda: router.set("k", bad),
                lambda: router.resolve_many(["k", bad], dict),
                lambda: router.get_many_with_fallback(["k", bad], dict),
            ):
                with pytest.raises(failsoft.InvalidArgument):
                    call()
        with pytest.raises(failsoft.Closed):
            router.get_with_fallback("k")
        with pytest.raises(failsoft.Closed):
            router.get_many_with_fallback(["k"], dict)
        await router.close()

    run(main())


def test_what_a_number_of_seconds_may_be_is_said() -> None:
    with blocking.Router(["127.0.0.1:1"], deadline=0.05) as router:
        for ttl in (-1, 0, 1e300):
            with pytest.raises(failsoft.InvalidArgument, match=r"1 ms to 36,500 days"):
                router.get_with_fallback("k", str, ttl=ttl)
        for deadline in (-1, 2.0**64):
            with pytest.raises(failsoft.InvalidArgument, match=r"a number of seconds, from 0 to less than 2\^64"):
                router.get_with_fallback("k", str, deadline=deadline)
        with pytest.raises(failsoft.InvalidArgument, match="an int out of range"):
            router.get_with_fallback("k", str, deadline=10**400)
        assert router.get_with_fallback("k", str, deadline=2.0**63) == b"k"


def test_an_endless_iterable_of_keys_is_read_to_the_limit() -> None:
    with blocking.Router(["127.0.0.1:1"], deadline=0.05) as router:
        # Bounded, so that reading it to its end fails this test and no other.
        keys = iter(range(100_000))
        with pytest.raises(failsoft.InvalidArgument, match="more than 65536 keys in one call") as wrong:
            router.resolve_many(map(str, keys), dict)
        assert wrong.value.argument == "keys" and next(keys) == 65_537


def test_a_mapping_that_reads_its_own_key_while_it_is_read_closes_a_circle() -> None:
    with blocking.Router(["127.0.0.1:1"], deadline=0.1, load_timeout=5.0) as router:

        class Lazy(dict[str, bytes]):
            def items(self) -> Any:
                return [(key, router.get_with_fallback(key, lambda _: b"inner")) for key in self]

        [told] = router.resolve_many(["lazy"], lambda keys: Lazy.fromkeys(keys, b""))
        assert isinstance(told, failsoft.InvalidArgument) and 'Reentrant: a callback asked for the key b"lazy"' in str(
            told
        )


def test_many_keys(cluster: list[str], patient: dict[str, Any]) -> None:
    asked: list[list[str]] = []

    async def load(keys: list[str]) -> dict[str, bytes | None]:
        asked.append(keys)
        return {key: f"loaded {key}".encode() for key in keys if not key.endswith("7")}

    async def main() -> None:
        async with Router(cluster, fill=False, **patient) as router:
            keys = [f"many:{i}" for i in range(20)]
            for key in keys[:10]:
                await router.set(key, "stored")
            read = router.get_many_with_fallback([*keys, keys[0]], load)
            assert not asyncio.iscoroutine(read) and asyncio.isfuture(read)
            values = await read
            assert values[:10] == [b"stored"] * 10 and values[20] == b"stored"
            assert values[10] == b"loaded many:10" and values[17] is None
            assert asked == [keys[10:]]
            outcomes = await router.resolve_many(["many:1", b"many:x"], lambda keys: {key: "there" for key in keys})
            assert [outcome.value for outcome in outcomes if isinstance(outcome, failsoft.Outcome)] == [
                b"stored",
                b"there",
            ]
            broken = ValueError("no")

            def fail(_keys: list[str]) -> dict[str, bytes]:
                raise broken

            results = await router.resolve_many(["many:2", "many:y"], fail)
            assert isinstance(results[0], failsoft.Outcome) and results[1] is broken
            with pytest.raises(ValueError):
                await router.get_many_with_fallback(["many:2", "many:y"], fail)
            no_mapping: Any = lambda keys: list(keys)  # noqa: E731
            with pytest.raises(failsoft.InvalidArgument, match="allowed: a mapping"):
                await router.get_many_with_fallback(["many:y"], no_mapping)

    run(main())


def test_a_callback_that_asks_for_its_own_key(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:

            async def direct(key: str) -> Any:
                return await router.get_with_fallback(key, direct)

            async def first(_key: str) -> Any:
                return await asyncio.create_task(through())

            async def through() -> Any:
                return await router.get_with_fallback("circle:b", second)

            async def second(_key: str) -> Any:
                return await router.get_with_fallback("circle:a", first)

            with pytest.raises(failsoft.Reentrant):
                await router.get_with_fallback("circle:self", direct)
            with pytest.raises(failsoft.Reentrant):
                await router.get_with_fallback("circle:a", first)

    run(main())


def test_a_store_that_fails_is_spared() -> None:
    def fails(_key: str) -> bytes:
        raise OSError("on fire")

    with blocking.Router(["127.0.0.1:1"], deadline=0.1) as router:
        for _ in range(20):
            with pytest.raises(OSError, match="on fire"):
                router.get_with_fallback("k", fails)
        with pytest.raises(failsoft.Shed, match="breaker_open") as shed:
            router.get_with_fallback("k", lambda _: pytest.fail("it is not called"))
        health = router.health()
    assert (shed.value.code, shed.value.cause) == ("SHED", "breaker_open")
    assert pickle.loads(pickle.dumps(shed.value)).cause == "breaker_open"
    store = health["store"]
    assert (store["state"], store["trouble"], store["calls"], store["failure_share"]) == ("open", "failing", 20, 1.0)
    assert (health["counters"]["loads"], health["counters"]["shed"]) == (20, 1)


def test_limits(cluster: list[str], patient: dict[str, Any], scripted: Scripted) -> None:
    async def main() -> None:
        async with Router(cluster, load_timeout=0.7, **patient) as router:
            await router.ready(10)
            stopped = asyncio.Event()

            async def never(_key: str) -> bytes:
                try:
                    await asyncio.sleep(1000)
                finally:
                    stopped.set()
                return b""

            with pytest.raises(failsoft.DeadlineExceeded) as late:
                await router.get_with_fallback("limit:load", never)
            assert late.value.limit == "load_timeout" and isinstance(late.value, TimeoutError)
            # One more load_timeout, and it is stopped.
            await asyncio.wait_for(stopped.wait(), 30)
            with pytest.raises(failsoft.DeadlineExceeded) as own:
                await router.get_with_fallback("limit:own", never, deadline=0.05)
            assert own.value.limit == "deadline"
            await eventually("no flight", lambda: router.health()["flights"] == 0)
        scripted.behave("GET", "silent")
        async with Router([scripted.address], attempt_timeout=0.05, deadline=0.2) as router:
            with pytest.raises(failsoft.Unavailable) as unavailable:
                await router.get_with_fallback("k")
            assert unavailable.value.reason == "timeout"
            assert (await router.resolve("k", lambda _, reason: reason)).value in (b"timeout", b"breaker_open")

    run(main())
