"""Tells whether a key is held, as anybody could: by whether what is loaded of it is kept."""

from __future__ import annotations

import time

from failsoft import blocking

#: Seconds, after which something hangs.
LIMIT = 60.0
#: Why a key is missing that its primary was asked for.
MISSES = ("absent", "expired", "evicted", "invalidated", "unknown")


class Observer:
    """Reads through a router of its own, which knows no more of the writer than one in another process does."""

    def __init__(self, router: blocking.Router) -> None:
        self._router = router

    def _count(self) -> tuple[int, int]:
        """Loads whose writing back has ended, and those of them that were held."""
        counters = self._router.health()["counters"]
        skipped = [(count["what"], count["count"]) for count in counters["fills_skipped"]]
        held = sum(count for what, count in skipped if what == "held")
        return counters["fills"] + sum(count for _, count in skipped), held

    def holds(self, key: str) -> bool:
        """Whether what is loaded of it now is kept nowhere."""
        until = time.monotonic() + LIMIT
        while time.monotonic() < until:
            ended, held = self._count()
            outcome = self._router.resolve(key, lambda _: b"loaded")
            if outcome.served_by == "primary":
                return False
            if outcome.reason not in MISSES or outcome.attempts == 0:
                continue
            while (now := self._count())[0] == ended:
                assert time.monotonic() < until, "its writing back does not end"
                time.sleep(0.002)
            if now[1] > held:
                return True
        raise AssertionError("nothing is filled, and nothing is held")

    def lifted(self, key: str) -> bool:
        return not self.holds(key)
