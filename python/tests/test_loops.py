"""A read belongs to the loop that runs in its thread, and to none that ran there before."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import run
from failsoft import Router


class Loop(asyncio.SelectorEventLoop):
    pass


@pytest.fixture
def router() -> Iterator[Router]:
    """No node of it answers: what is asked for waits."""
    router = Router(["127.0.0.1:1"], deadline=30.0)
    yield router
    run(closed(router))


async def closed(router: Router) -> None:
    await router.close()


def ask(router: Router, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
    """Asks on a loop, and stops it before anything comes."""

    async def main() -> asyncio.Future[Any]:
        read: Any = router.get_with_fallback("loops:wait")
        assert isinstance(read, asyncio.Future)
        return read

    return loop.run_until_complete(main())


def test_loops_take_turns_in_a_thread(router: Router) -> None:
    loops = [Loop() for _ in range(3)]
    for _ in range(5):
        for loop in loops:
            assert ask(router, loop).get_loop() is loop
            assert ask(router, loop).get_loop() is loop
    for loop in loops:
        loop.close()
    # The memory of one that is gone may be that of the next one.
    for _ in range(20):
        loop = Loop()
        assert ask(router, loop).get_loop() is loop
        loop.close()


def test_a_loop_that_runs_inside_another_one(router: Router) -> None:
    """As some programs do it that run code of a loop where there is one already."""
    outer, inner = Loop(), Loop()

    async def main() -> None:
        first: Any = router.get_with_fallback("loops:outer")
        asyncio._set_running_loop(None)
        try:
            assert ask(router, inner).get_loop() is inner
        finally:
            asyncio._set_running_loop(outer)
        second: Any = router.get_with_fallback("loops:outer")
        assert first.get_loop() is second.get_loop() is outer

    outer.run_until_complete(main())
    inner.close()
    outer.close()


def test_there_is_no_loop_once_it_has_stopped(router: Router) -> None:
    loop = Loop()
    ask(router, loop)
    with pytest.raises(RuntimeError, match="no running event loop"):
        router.get_with_fallback("loops:none")
    loop.close()


def test_the_loop_that_asked_last_is_let_go_when_it_is_closed(router: Router) -> None:
    loop = Loop()
    gone = weakref.ref(loop)
    ask(router, loop)
    loop.close()
    del loop
    gc.collect()
    assert gone() is None


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_loop_that_asked_last_is_let_go_when_it_has_its_answer() -> None:
    router = Router(["127.0.0.1:1"], deadline=0.05)

    async def main() -> Any:
        return await router.get_with_fallback("loops:answered", lambda _: b"v")

    loop = Loop()
    gone = weakref.ref(loop)
    assert loop.run_until_complete(main()) == b"v"
    # Nobody closes it.
    del loop
    gc.collect()
    assert gone() is None
    run(closed(router))
