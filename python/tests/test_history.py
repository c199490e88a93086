"""When a key was last invalidated, and whether it is known that nobody has for a while."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import failsoft
import pytest
from conftest import eventually, run
from failsoft import LastInvalidation, Router, blocking
from test_invalidations import DOWN


def test_it_is_told_by_whom_and_when(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as ours, Router(cluster, **patient) as other:
            assert await ours.last_invalidation("history:none") is None
            before = time.time()
            await ours.invalidate("history:one")
            for router in (ours, other):
                last = await router.last_invalidation(b"history:one")
                assert last is not None and last.record == "mark" and last.own == (router is ours)
                assert last.id is not None and len(last.id) == 16 and last.id.startswith(ours.health()["id"])
                assert last.at is not None and before - 0.01 <= last.at <= time.time()
                assert last.age is not None and 0 <= last.age <= time.time() - before + 0.01

    run(main())


def test_threads_are_told_the_same(cluster: list[str], patient: dict[str, Any]) -> None:
    with blocking.Router(cluster, **patient) as router:
        assert router.last_invalidation("history:nobody") is None
        router.invalidate("history:two")
        last = router.last_invalidation("history:two")
        assert isinstance(last, LastInvalidation) and last.own
        assert router.within_staleness_budget("history:two", max_age=3600) is False
        run(eventually("nobody has touched it", lambda: router.within_staleness_budget("history:two", 0.3)))
        router.invalidate("history:two")
        assert router.within_staleness_budget("history:two") is False


def test_a_loop_is_told_whether_nobody_has_touched_it(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            await router.invalidate("history:three")
            assert await router.within_staleness_budget("history:three", max_age=3600) is False
            with pytest.raises(failsoft.InvalidArgument):
                router.within_staleness_budget("history:three", max_age=-1)
            with pytest.raises(failsoft.InvalidArgument):
                router.last_invalidation(42)  # type: ignore[arg-type]

    run(main())


def test_nobody_can_say_while_no_node_is_there() -> None:
    with blocking.Router(DOWN) as router:
        with pytest.raises(failsoft.Unavailable):
            router.last_invalidation("history:down")
        assert router.within_staleness_budget("history:down", 0) is False
    with pytest.raises(failsoft.Closed):
        router.last_invalidation("history:down")


def test_a_record_made_by_hand_is_compared_copied_and_shown() -> None:
    last = LastInvalidation(age=1.5, at=1_700_000_000.25, id="0123456789abcdef", own=True, record="log")
    assert last == LastInvalidation(age=1.5, at=1_700_000_000.25, id="0123456789abcdef", own=True, record="log")
    assert last != LastInvalidation(age=1.5, own=True, record="log")
    for same in (copy.copy(last), pickle.loads(pickle.dumps(last))):
        assert same == last and hash(same) == hash(last)
    shown = "LastInvalidation(age=1.500, at=1700000000.250, id='0123456789abcdef', own=True, record='log')"
    assert repr(last) == shown
    assert repr(LastInvalidation()) == "LastInvalidation(age=None, at=None, id=None, own=False, record='mark')"
    with pytest.raises(failsoft.InvalidArgument, match="mark, echo, process, log"):
        LastInvalidation(record="elsewhere")  # type: ignore[arg-type]
