"""The router for asyncio, and what it shares with its blocking twin."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _failsoft
from ._config import Signature
from ._failsoft import AsyncRouter, LastInvalidation, Outcome
from ._writing import Writing

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self, TypeVar, Unpack

    from ._config import Config
    from ._types import Health, Key

    #: What reads give.
    V = TypeVar("V", bytes, str, default=bytes)
else:
    from typing import TypeVar

    V = TypeVar("V", bytes, str)


class Router(AsyncRouter[V]):
    """Reads through a cluster, and through what the caller gives it when the cluster may not answer.

    ``nodes`` are seeds, one is enough: a list, or one text with commas, of ``host:port`` or
    ``redis://user:password@host:port`` (``rediss://`` with TLS). The settings are keyword arguments
    (durations in seconds); ``decode_responses=True`` gives ``str`` instead of ``bytes``. A bad one is a
    ``ConfigError`` that names it, before any connection is made.

    It connects by itself and works at once, from any number of event loops; each call gives a Future.
    Nodes that are lost and back, verdicts and values not written back are records of the logger
    ``failsoft``, made on a loop that has called the router.

    Example:

        async def load_user(key: str) -> bytes | None: ...

        async with Router(["127.0.0.1:7000"]) as router:
            user = await router.get_with_fallback("user:42", load_user)
    """

    __module__ = "failsoft"
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
        inside of the same key, too. A task that is cancelled leaves nothing held: what that takes goes on in the
        background.

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

            async with router.writing("user:42", "users:by-name"):
                await database.execute("UPDATE users SET name = 'Ada' WHERE id = 42")
        """
        return Writing(self, keys)

    def health(self) -> Health:
        """What the router knows of the cluster and of itself, now: nodes, breakers, slots, counters. Asks nobody.

        Example:

            assert router.health()["slots_ok"] == 16384
        """
        return health_of(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self, warn: Any = warnings.warn) -> None:
        warn_of_unclosed(self, warn)


def health_of(router: _failsoft.Router[Any, Any, Any, Any, Any, Any, Any, Any, Any]) -> Health:
    health: Health = json.loads(router.health_json())
    return health


def warn_of_unclosed(router: _failsoft.Router[Any, Any, Any, Any, Any, Any, Any, Any, Any], warn: Any) -> None:
    """For `__del__`: `warn` is held by the caller, since the module may be gone at the end of the interpreter."""
    if router.state in ("connecting", "ready"):
        warn(f"unclosed {router!r}", ResourceWarning, source=router)


def outcome_of(kind: type[Outcome[Any]], value: Any, how: tuple[Any, ...]) -> Outcome[Any]:
    """For `copy` and `pickle`."""
    served_by, reason, age, attempts, coalesced, node = how
    return kind(value, served_by, reason, age=age, attempts=attempts, coalesced=coalesced, node=node)


def last_of(kind: type[LastInvalidation], age: Any, at: Any, id: Any, own: Any, record: Any) -> LastInvalidation:
    """For `copy` and `pickle`."""
    return kind(age=age, at=at, id=id, own=own, record=record)
