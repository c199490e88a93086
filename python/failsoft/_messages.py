"""What an operator wants to know, as records of the logger ``failsoft``."""

from __future__ import annotations

import logging

logger = logging.getLogger("failsoft")
# As libraries do: nothing is printed by a program that has not set up `logging`.
logger.addHandler(logging.NullHandler())

#: The level of each kind of message, and what it says.
KINDS = {
    "no_view": (logging.WARNING, "no cluster is found; health()['refusals'] has what the nodes said instead"),
    "node_down": (logging.WARNING, "nodes get no reads any more"),
    "node_up": (logging.INFO, "nodes get reads again"),
    "verdict": (logging.WARNING, "the verdict on nodes has changed"),
    "fill_failed": (logging.WARNING, "loaded values were not written back"),
    "store_down": (logging.WARNING, "the store can't cope: loads are shed"),
    "store_up": (logging.INFO, "the store is back: loads run again"),
    "store_slow": (logging.WARNING, "the store is slow: reads retry less, and equal ones share their requests"),
    "store_fast": (logging.INFO, "the store is fast again: retries and requests are as usual"),
    "panicked": (logging.ERROR, "a defect in the background of the library, which goes on"),
}


def log(kind: str, count: int, subjects: list[tuple[str | None, str | None]]) -> None:
    """Logs one message: ``event``, ``count`` and ``subjects`` are attributes of the record, too."""
    level, text = KINDS[kind]
    # A doubt, and its end, come with every failover: only a node that was voted out is cut off, and one of those that
    # are merely counted may be.
    if kind == "verdict" and count <= len(subjects) and all(word != "minority" for _, word in subjects):
        level = logging.INFO
    named = ", ".join(" ".join(word for word in subject if word is not None) for subject in subjects)
    extra = {"event": kind, "count": count, "subjects": subjects}
    if named:
        logger.log(level, "%s (%d): %s", text, count, named, extra=extra)
    else:
        logger.log(level, "%s (%d)", text, count, extra=extra)
