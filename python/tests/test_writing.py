"""What `writing` and `hold=` promise: nothing loaded meanwhile is kept, and however a writer leaves, that ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import failsoft
import pytest
from conftest import LONG, eventually, run
from failsoft import Router, Writing, blocking
from observer import Observer
from test_invalidations import DOWN, NEW_LOOPS, SHORT, key_of_node, owed
from testkit import Kit

#: Longer than any test: what is lifted was lifted by its writer.
HOLD: dict[str, Any] = {"hold": 600}


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_inside_nothing_is_kept_and_leaving_lifts(
    cluster: list[str],
    patient: dict[str, Any],
    observer: Observer,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    key, other = "writing:loop", "writing:loop:other"

    async def main() -> None:
        async with Router(cluster, **HOLD, **patient) as router:
            await router.set(key, "old")
            writing = router.writing(key, bytearray(other, "utf8"))
            assert type(writing) is Writing and observer.lifted(other)
            async with writing as nothing:
                assert nothing is None and observer.holds(key) and observer.holds(other)
                # One's own reads are no exception.
                assert await router.get_with_fallback(key, lambda _: b"mine") == b"mine"
                async with router.writing(key):
                    pass
                assert observer.holds(key), "an inner one lifts its own hold alone"
            assert observer.lifted(key) and observer.lifted(other)

            async def writer(number: int) -> None:
                async with router.writing(key, f"{key}:{number}"):
                    assert observer.holds(key)

            await asyncio.gather(*map(writer, range(10)))
            assert observer.lifted(key)
            async with router.writing():
                pass

    loop = new_loop()
    loop.run_until_complete(asyncio.wait_for(main(), LONG))
    loop.close()


def test_the_same_for_threads(cluster: list[str], patient: dict[str, Any], observer: Observer) -> None:
    key, other = "writing:threads", "writing:threads:other"
    with blocking.Router(cluster, **HOLD, **patient) as router:
        router.set(key, "old")
        writing = router.writing(key, memoryview(other.encode()))
        assert type(writing) is blocking.Writing and observer.lifted(other)
        with writing as nothing:
            assert nothing is None and observer.holds(key) and observer.holds(other)
            assert router.get_with_fallback(key, lambda _: b"mine") == b"mine"
            with router.writing(key):
                pass
            assert observer.holds(key), "an inner one lifts its own hold alone"
        assert observer.lifted(key) and observer.lifted(other)

        def write(seen: list[bool]) -> None:
            with router.writing(key), blocking.Router(cluster, **patient) as reader:
                seen.append(Observer(reader).holds(key))

        seen: list[bool] = []
        threads = [threading.Thread(target=write, args=(seen,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert seen == [True] * 8 and observer.lifted(key)


def test_each_transaction_takes_one_of_its_own(cluster: list[str], patient: dict[str, Any], observer: Observer) -> None:
    key = "writing:once"

    async def main() -> None:
        async with Router(cluster, **HOLD, **patient) as router:
            writing = router.writing(key)
            with pytest.raises(RuntimeError, match="nobody is inside"):
                await writing.__aexit__(None, None, None)
            async with writing:
                with pytest.raises(RuntimeError, match="entered before"):
                    await writing.__aenter__()
                assert observer.holds(key), "it is still inside"
            with pytest.raises(RuntimeError, match="entered before"):
                await writing.__aenter__()
            with pytest.raises(RuntimeError, match="nobody is inside"):
                await writing.__aexit__(None, None, None)
            assert observer.lifted(key)

    run(main())
    with blocking.Router(cluster, **HOLD, **patient) as router:
        writing = router.writing(key)
        with pytest.raises(RuntimeError, match="nobody is inside"):
            writing.__exit__(None, None, None)
        with writing:
            with pytest.raises(RuntimeError, match="entered before"):
                writing.__enter__()
            assert observer.holds(key), "it is still inside"
        with pytest.raises(RuntimeError, match="nobody is inside"):
            writing.__exit__(None, None, None)
        assert observer.lifted(key)


def test_what_cannot_be_held_is_not_entered(hangable: Kit, patient: dict[str, Any]) -> None:
    key, other = key_of_node("writing:hung", 0), key_of_node("writing:well", 1)

    async def main() -> None:
        async with Router(hangable.addresses, **HOLD, **SHORT) as router:
            await router.ready(10)
            hangable.ask("hang", node=0)
            with pytest.raises(failsoft.InvalidationIncomplete) as incomplete:
                async with router.writing(key, other):
                    pytest.fail("entered")
            steps = {lacks.step for lacks in incomplete.value.pending}
            assert {lacks.key for lacks in incomplete.value.pending} == {key.encode()} and "hold" in steps
            hangable.ask("resume", node=0)
            with blocking.Router(hangable.addresses, **patient) as reader:
                await eventually("the other is not held", lambda: Observer(reader).lifted(other))

    run(main())
    for kind in (Router, blocking.Router):
        check_down(kind)


def check_down(kind: type[Any]) -> None:
    async def main() -> None:
        router = kind(DOWN, deadline=0.1)
        writing = router.writing("a")
        with pytest.raises(failsoft.InvalidationIncomplete, match=r"hold \(no_view\)"):
            await enter(writing)
        await close(router)
        with pytest.raises(failsoft.Closed):
            await enter(router.writing("a"))

    run(main())


async def enter(writing: Writing | blocking.Writing) -> None:
    if isinstance(writing, Writing):
        await writing.__aenter__()
    else:
        writing.__enter__()


async def close(router: Router | blocking.Router) -> None:
    if isinstance(router, Router):
        await router.close()
    else:
        router.close()


def test_what_leaving_lacks_is_told_beside_the_transactions_exception(hangable: Kit, patient: dict[str, Any]) -> None:
    key = key_of_node("writing:leaving", 0)

    async def main() -> None:
        async with Router(hangable.addresses, **SHORT) as router:
            await router.ready(10)
            for own in (None, ValueError("own")):
                if own is not None:
                    own.__context__ = OSError("why")
                with pytest.raises((failsoft.InvalidationIncomplete, ValueError)) as raised:
                    async with router.writing(key):
                        hangable.ask("hang", node=0)
                        if own is not None:
                            raise own
                incomplete: Any = raised.value if own is None else raised.value.__context__
                assert type(incomplete) is failsoft.InvalidationIncomplete
                assert {lacks.key for lacks in incomplete.pending} == {key.encode()}
                if own is not None:
                    assert raised.value is own and str(incomplete.__context__) == "why"
                hangable.ask("resume", node=0)
                await asyncio.to_thread(hangable.ask, "wait_until_ok")
                await eventually("it is sent again", lambda: owed(router) == 0)

    run(main())
    with blocking.Router(hangable.addresses, **SHORT) as router:
        router.ready(10)
        with pytest.raises(ValueError, match="own") as raised, router.writing(key):
            hangable.ask("hang", node=0)
            raise ValueError("own")
        assert type(raised.value.__context__) is failsoft.InvalidationIncomplete
        hangable.ask("resume", node=0)
        hangable.ask("wait_until_ok")
        run(eventually("it is sent again", lambda: owed(router) == 0))
        with pytest.raises(failsoft.InvalidationIncomplete), router.writing(key):
            hangable.ask("hang", node=0)
        hangable.ask("resume", node=0)


@pytest.mark.parametrize("kind", [Router, blocking.Router])
def test_bad_keys_are_told_by_the_call(kind: type[Any]) -> None:
    async def main() -> None:
        router = kind(DOWN)
        for keys, problem in (((["a"],), "list; allowed"), (("a", 1), "int; allowed"), (("\ud800",), "surrogate")):
            with pytest.raises(failsoft.InvalidArgument, match=problem) as wrong:
                router.writing(*keys)
            assert wrong.value.argument == "keys"
        many = router.writing(*map(str, range(1_000_001)))
        with pytest.raises(failsoft.InvalidArgument, match="more than 1000000 keys"):
            await enter(many)
        assert router.health()["invalidations"] == 0
        await close(router)

    run(main())


def test_an_invalidation_can_leave_a_hold(cluster: list[str], patient: dict[str, Any], observer: Observer) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            await router.invalidate("hold:loop", "hold:loop:2", hold=600)
            assert observer.holds("hold:loop") and observer.holds("hold:loop:2")
            await router.invalidate("hold:short", hold=0.3)
            await eventually("it is over", lambda: observer.lifted("hold:short"))
            await router.invalidate("hold:none", hold=None)
            assert observer.lifted("hold:none")

    run(main())
    with blocking.Router(cluster, **patient) as router:
        router.invalidate("hold:threads", hold=600.0)
        assert observer.holds("hold:threads")
        for hold in (0, 0.0005, -1, 3600.5, float("nan"), float("inf"), True, "1"):
            wrong_hold: Any = hold
            with pytest.raises(failsoft.InvalidArgument, match="1 ms to 1 h") as wrong:
                router.invalidate("hold:none", hold=wrong_hold)
            assert wrong.value.argument == "hold"
        assert observer.lifted("hold:none")
