"""What the tests share: clusters, and time limits."""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from failsoft import blocking
from observer import Observer
from testkit import Kit, Scripted

T = TypeVar("T")
#: Longer than anything here takes: what lasts until then hangs.
LONG = 60.0

faulthandler.enable()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on a loop of its own, for a limited time."""
    return asyncio.run(asyncio.wait_for(main, LONG))


async def eventually(what: str, holds: Callable[[], bool], why: Callable[[], str] = str) -> None:
    """Polls until it holds; `why` says more if it never does."""
    deadline = asyncio.get_running_loop().time() + 30
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"not within 30 s: {what} {why()}"
        await asyncio.sleep(0.005)


@pytest.fixture(scope="session")
def kit() -> Iterator[Kit]:
    kit = Kit()
    yield kit
    kit.close()


@pytest.fixture(scope="session")
def cluster(kit: Kit) -> list[str]:
    """A healthy cluster, not to be broken."""
    return kit.cluster(3, 0)


@pytest.fixture
def breakable() -> Iterator[Kit]:
    """Three primaries with a replica each."""
    kit = Kit()
    kit.cluster(3, 1)
    yield kit
    kit.close()


@pytest.fixture
def hangable() -> Iterator[Kit]:
    """Three primaries without replicas."""
    kit = Kit()
    kit.cluster(3, 0)
    yield kit
    kit.close()


@pytest.fixture
def scripted(kit: Kit) -> Scripted:
    return kit.scripted()


@pytest.fixture
def patient() -> dict[str, float]:
    """Settings with enough time for a busy machine."""
    return {"attempt_timeout": 4.0, "deadline": 16.0, "connect_timeout": 4.0}


@pytest.fixture
def observer(cluster: list[str], patient: dict[str, Any]) -> Iterator[Observer]:
    with blocking.Router(cluster, **patient) as router:
        yield Observer(router)
