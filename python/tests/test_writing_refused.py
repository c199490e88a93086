"""What `writing` does where the cluster or the router fails it: no transaction begins without its hold."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import Any

import failsoft
import pytest
from conftest import eventually, run
from failsoft import Router, Writing, blocking
from test_invalidations import DOWN, SHORT, key_of_node, owed
from test_writing import HOLD, Observer
from testkit import Kit


@pytest.fixture
def hangable() -> Iterator[Kit]:
    """Three primaries without replicas."""
    kit = Kit()
    kit.cluster(3, 0)
    yield kit
    kit.close()


def test_ctrl_c_while_entering_leaves_nothing_held(hangable: Kit, patient: dict[str, Any]) -> None:
    key = key_of_node("writing:ctrl-c", 0)
    main = threading.main_thread().ident
    assert main is not None
    with (
        blocking.Router(hangable.addresses, **HOLD, **patient) as router,
        blocking.Router(hangable.addresses, **patient) as reader,
    ):
        router.ready(10)
        hangable.ask("hang", node=0)

        def interrupt() -> None:
            run(eventually("it is under way", lambda: router.health()["invalidations"] == 1))
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt), router.writing(key):
            pytest.fail("entered")
        thread.join()
        hangable.ask("resume", node=0)
        run(eventually("it is lifted", lambda: Observer(reader).lifted(key)))


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


def test_a_router_that_is_closed_inside(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        for own in (None, ValueError("own")):
            router = Router(cluster, **patient)
            with pytest.raises((failsoft.Closed, ValueError)) as raised:
                async with router.writing("writing:closed"):
                    await router.close()
                    if own is not None:
                        raise own
            error: Any = raised.value if own is None else raised.value.__context__
            assert type(error) is failsoft.Closed and (own is None or raised.value is own)

    run(main())
    router = blocking.Router(cluster, **patient)
    with pytest.raises(failsoft.Closed), router.writing("writing:closed"):
        router.close()
    router = blocking.Router(cluster, **patient)
    with pytest.raises(ValueError, match="own") as raised, router.writing("writing:closed"):
        router.close()
        raise ValueError("own")
    assert type(raised.value.__context__) is failsoft.Closed


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
