"""The router for threads: the same without ``await``. It waits without holding the interpreter's lock."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, overload

from ._config import Signature
from ._failsoft import BlockingRouter
from ._router import V, health_of, warn_of_unclosed

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._config import Config
    from ._types import Health

__all__ = ["Router"]


class Router(BlockingRouter[V]):
    """Reads through a cluster, and through what the caller gives it when the cluster may not answer.

    Takes what ``failsoft.Router`` takes. Any number of threads may use it at once. A fallback runs in
    the thread of its caller, so no limit can interrupt it there: one that takes longer than
    ``load_timeout`` fails the others who wait for it, but its own caller gets what it came back with.
    Records of the logger ``failsoft`` are made inside calls of the router, in their own threads.

    Example:

        with Router(["127.0.0.1:7000"]) as router:
            user = router.get_with_fallback("user:42", lambda key: database.load(key))
    """

    __signature__ = Signature()

    @overload
    def __init__(
        self: Router[bytes],
        nodes: Iterable[str] | str,
        *,
        decode_responses: Literal[False] = False,
        **config: Unpack[Config],
    ) -> None: ...
    @overload
    def __init__(
        self: Router[str], nodes: Iterable[str] | str, *, decode_responses: Literal[True], **config: Unpack[Config]
    ) -> None: ...
    def __init__(self, nodes: Any, **config: Any) -> None:
        # By the overloads type checkers know what reads give.
        self._open(nodes, config)

    def health(self) -> Health:
        """What the router knows of the cluster and of itself, now: nodes, breakers, slots, counters. Asks nobody.

        Example:

            assert router.health()["slots_ok"] == 16384
        """
        return health_of(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, warn: Any = warnings.warn) -> None:
        warn_of_unclosed(self, warn)
