"""The router for threads: the same without ``await``. It waits without holding the interpreter's lock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ._failsoft import BlockingRouter
from ._router import parsed, values_of

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._failsoft import _BlockingManyFallback

__all__ = ["Router"]


class Router(BlockingRouter):
    """Reads through a cluster, and through what the caller gives it when the cluster may not answer.

    Any number of threads may use it at once. A callback runs in the thread of its caller, so a
    ``deadline`` cannot interrupt it there.
    """

    def get_many_with_fallback(
        self, keys: Iterable[bytes | str], fallback: _BlockingManyFallback
    ) -> list[bytes | str | None]:
        """Reads many keys at once, the values in the order of the keys; raises the first error of any key."""
        return values_of(self.resolve_many(keys, fallback))

    def health(self) -> dict[str, Any]:
        """What the router knows of the cluster and of itself, now: nodes, breakers, slots, counters."""
        return parsed(self.health_json())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
