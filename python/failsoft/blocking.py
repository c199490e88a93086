"""The router for threads: the same without ``await``. It waits without holding the interpreter's lock."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, overload

from ._config import Signature
from ._errors import FailsoftError
from ._failsoft import BlockingRouter, Writer
from ._router import V, health_of, warn_of_unclosed
from ._writing import put_behind

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._config import Config
    from ._types import Health, Key

__all__ = ["Router", "Writing"]


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

    def writing(self, *keys: Key) -> Writing:
        """Holds keys around a transaction of your own store, which may end at any moment before an ``invalidate``.

        Entering deletes the keys, and while the hold stands nobody, in any process, writes back what is loaded of
        them. Leaving invalidates them and lifts the hold, however the transaction ended. Should this process end
        inside, the hold lasts for the setting ``hold`` (10 s), by the end of which the transaction has to be over:
        nothing is read from the cluster afterwards that is older than what had been committed by then. Others may be
        inside of the same key, too.

        Args:
            keys: as in ``invalidate``; they are copied at the call.

        Raises:
            InvalidationIncomplete: on entering, before the transaction: a key could not be held or deleted. On
                leaving, as of ``invalidate``: the transaction is over, and its keys are invalidated in the background.
            InvalidArgument: by the call, a bad key; on entering, too many.
            RuntimeError: entered a second time; each transaction takes a ``writing`` of its own.
            Closed, Forked.

            An exception of the transaction goes through; ours on leaving is then its ``__context__``.

        Example:

            with router.writing("user:42", "users:by-name"):
                database.execute("UPDATE users SET name = 'Ada' WHERE id = 42")
        """
        return Writing(self, keys)

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


class Writing:
    """What ``Router.writing`` gives: holds its keys inside of ``with``, once."""

    __slots__ = ("_router", "_writer")

    def __init__(self, router: BlockingRouter[Any], keys: tuple[Key, ...]) -> None:
        self._router = router
        self._writer = Writer(keys)

    def __enter__(self) -> None:
        self._writer.begin(self._router)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._writer.end(self._router)
        except FailsoftError as ours:
            if error is None:
                raise
            put_behind(error, ours)
