"""However a writer leaves `writing`, its hold ends: by exceptions, cancelled, interrupted, closed, forked."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import signal
import threading
from typing import Any

import failsoft
import pytest
from conftest import eventually, run
from failsoft import Router, blocking
from observer import Observer
from test_invalidations import key_of_node
from test_processes import ends, in_a_child
from test_writing import HOLD
from testkit import Kit


def test_the_transactions_exception_goes_through(
    cluster: list[str], patient: dict[str, Any], observer: Observer
) -> None:
    own = ValueError("the transaction's own")

    async def main() -> None:
        async with Router(cluster, **HOLD, **patient) as router:
            with pytest.raises(ValueError, match="own") as raised:
                async with router.writing("writing:raises"):
                    assert observer.holds("writing:raises")
                    raise own
            assert raised.value is own and own.__context__ is None and observer.lifted("writing:raises")

    run(main())
    with blocking.Router(cluster, **HOLD, **patient) as router:
        for error in (own, KeyboardInterrupt(), SystemExit()):
            with pytest.raises(type(error)) as raised, router.writing("writing:raises"):
                raise error
            assert raised.value is error and observer.lifted("writing:raises")


def test_cancelled_anywhere_it_leaves_nothing_held(
    cluster: list[str], patient: dict[str, Any], observer: Observer
) -> None:
    key = "writing:cancelled"

    async def main() -> None:
        async with Router(cluster, **HOLD, **patient) as router:
            inside, go = asyncio.Event(), asyncio.Event()

            async def write(name: str, error: BaseException | None) -> None:
                async with router.writing(name):
                    inside.set()
                    await go.wait()
                    if error is not None:
                        raise error

            for where, error in itertools.product(("entering", "inside", "leaving"), (None, ValueError("own"))):
                name = f"{key}:{where}"
                inside.clear()
                go.clear()
                task = asyncio.create_task(write(name, error))
                if where == "entering":
                    # It has called, and no answer is handed out in this turn of the loop.
                    await asyncio.sleep(0)
                    assert not inside.is_set()
                else:
                    await inside.wait()
                    assert observer.holds(name)
                if where == "leaving":
                    go.set()
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await eventually(f"lifted after {where}", functools.partial(observer.lifted, name))

            # And at moments that nobody chose.
            async def pass_through(name: str) -> None:
                async with router.writing(name):
                    await asyncio.sleep(0.001)

            names = [f"{key}:{i}" for i in range(60)]
            tasks = [asyncio.create_task(pass_through(name)) for name in names]
            for task in tasks:
                await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for name in names:
                await eventually(name, functools.partial(observer.lifted, name))

    run(main())


def test_cancelled_when_it_has_been_taken_but_not_been_told(
    cluster: list[str], patient: dict[str, Any], observer: Observer
) -> None:
    key = "writing:untold"

    async def main() -> None:
        async with Router(cluster, **HOLD, **patient) as router:
            writing = router.writing(key)
            # As a task would, but for the last step, before which it is cancelled.
            entering = writing.__aenter__()
            begun = entering.send(None)
            begun._asyncio_future_blocking = False
            await asyncio.wait([begun])
            assert observer.holds(key)
            with pytest.raises(asyncio.CancelledError):
                entering.throw(asyncio.CancelledError())
            await eventually("it is lifted", lambda: observer.lifted(key))
            with pytest.raises(RuntimeError, match="entered before"):
                await writing.__aenter__()

    run(main())


def test_one_that_is_let_go_of_is_over(cluster: list[str], patient: dict[str, Any], observer: Observer) -> None:
    key = "writing:dropped"

    async def main() -> None:
        async with Router(cluster, **HOLD, **patient) as router:
            writing = router.writing(key)
            await writing.__aenter__()
            assert observer.holds(key)
            del writing
            await eventually("it is lifted", lambda: observer.lifted(key))

    run(main())


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


def test_a_child_does_not_lift_its_parents_hold(
    cluster: list[str], patient: dict[str, Any], observer: Observer
) -> None:
    key = "writing:fork"
    with blocking.Router(cluster, **HOLD, **patient) as router:
        writing = router.writing(key)

        def leave() -> None:
            with pytest.raises(failsoft.Forked):
                writing.__exit__(None, None, None)
            with pytest.raises(failsoft.Forked), router.writing(key):
                pass

        with writing:
            pid = os.fork()
            if pid == 0:
                in_a_child(leave)
            assert ends(pid) == 7 and observer.holds(key)
        assert observer.lifted(key)
