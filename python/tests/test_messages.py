"""What an operator is told by `logging`: in the program's own threads, and never at the cost of a read."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import pytest
from conftest import eventually, run
from failsoft import Router, _failsoft, _messages, blocking
from testkit import Kit, Scripted


class Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[Any]:
    keeper = Keeper()
    monkeypatch.setattr(_messages.logger, "handlers", [keeper])
    caplog.set_level(logging.INFO, logger="failsoft")
    return keeper.records


def of(records: list[Any], event: str) -> list[Any]:
    return [record for record in records if record.event == event]


def test_each_kind_of_the_core_has_a_level_and_a_text() -> None:
    assert list(_messages.KINDS) == _failsoft.vocabulary()["event"]


def test_only_a_node_that_was_voted_out_is_a_warning(records: list[Any]) -> None:
    _messages.log("verdict", 2, [("h:1", "unknown"), ("h:2", "majority")])
    _messages.log("verdict", 2, [("h:1", "unknown"), ("h:2", "minority")])
    # More happened than is named.
    _messages.log("verdict", 3, [("h:1", "unknown"), ("h:2", "majority")])
    assert [record.levelno for record in records] == [logging.INFO, logging.WARNING, logging.WARNING]


def test_a_cluster_that_is_not_found(patient: dict[str, Any], records: list[Any]) -> None:
    async def main() -> None:
        async with Router(["127.0.0.1:1"], **patient) as router:
            # It is told on a loop that has called the router.
            assert await router.get_with_fallback("k", str) == b"k"
            await eventually("it is told", lambda: of(records, "no_view") != [])
            [record] = of(records, "no_view")
            assert (record.levelno, record.subjects) == (logging.WARNING, [("127.0.0.1:1", "connection")])
            assert "refusals" in record.getMessage()

    run(main())


def test_a_node_that_is_lost_and_back(patient: dict[str, Any], records: list[Any]) -> None:
    kit = Kit()
    nodes = kit.cluster(3, 0)

    def about(event: str) -> list[Any]:
        return [record for record in of(records, event) if any(node == nodes[0] for node, _ in record.subjects)]

    async def main() -> None:
        async with Router(nodes, **patient) as router:
            await router.ready(10)
            await eventually("all slots are served", lambda: router.health()["slots_ok"] == 16384)
            assert records == [], "nodes that are well are no news"
            kit.ask("kill", node=0)
            # No call of the router's comes meanwhile: its loop is woken.
            await eventually("it is down", lambda: about("node_down") != [])
            [record, *_] = about("node_down")
            assert record.levelno == logging.WARNING and record.count >= 1
            assert record.thread == threading.get_ident()
            assert f"{nodes[0]} " in record.getMessage()
            kit.ask("restart", node=0)
            await eventually("it is up", lambda: about("node_up") != [])
            assert about("node_up")[0].levelno == logging.INFO

    try:
        run(main())
    finally:
        kit.close()


def fails_to_fill(scripted: Scripted, **settings: Any) -> blocking.Router[bytes]:
    scripted.behave("FILL", "error")
    router = blocking.Router([scripted.address], **settings)
    router.ready(10)
    return router


def test_values_that_are_not_written_back(scripted: Scripted, patient: dict[str, Any], records: list[Any]) -> None:
    with fails_to_fill(scripted, **patient) as router:

        def told() -> bool:
            assert router.get_with_fallback(f"fill:{len(records)}:{threading.get_ident()}", lambda _: b"v") == b"v"
            return of(records, "fill_failed") != []

        run(eventually("it is told inside a call", told))
        [record, *_] = of(records, "fill_failed")
        assert record.levelno == logging.WARNING and record.thread == threading.get_ident()
        assert all(node is None and isinstance(cause, str) for node, cause in record.subjects)


def test_a_handler_that_fails_or_reads_costs_no_read(
    scripted: Scripted, patient: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes | None] = []
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: unraisable.append(told.exc_type))
    with fails_to_fill(scripted, **patient) as router:

        def hostile(_: logging.LogRecord) -> bool:
            seen.append(router.get_with_fallback("hostile", lambda _: b"inside"))
            raise ZeroDivisionError

        monkeypatch.setattr(_messages.logger, "filters", [hostile])
        numbers = iter(range(1_000_000))

        def told() -> bool:
            assert router.get_with_fallback(f"hostile:{next(numbers)}", lambda _: b"v") == b"v"
            return seen != []

        run(eventually("it is told", told))
        assert seen == [b"inside"] and unraisable == [ZeroDivisionError]
