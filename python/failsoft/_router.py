"""The router for asyncio."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ._failsoft import AsyncRouter, Outcome

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._failsoft import _ManyFallback


class Router(AsyncRouter):
    """Reads through a cluster, and through what the caller gives it when the cluster may not answer.

    It connects by itself and works at once, from any number of event loops. Settings are keyword
    arguments (durations in seconds); ``decode_responses=True`` gives ``str`` instead of ``bytes``.
    """

    async def get_many_with_fallback(
        self, keys: Iterable[bytes | str], fallback: _ManyFallback
    ) -> list[bytes | str | None]:
        """Reads many keys at once, the values in the order of the keys.

        ``fallback`` is called once with the list of missing keys that nobody loads yet, and gives a
        mapping; a key that is not in it does not exist. Raises the first error of any key.
        """
        return values_of(await self.resolve_many(keys, fallback))

    def health(self) -> dict[str, Any]:
        """What the router knows of the cluster and of itself, now: nodes, breakers, slots, counters."""
        return parsed(self.health_json())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def values_of(outcomes: list[Outcome | Exception]) -> list[bytes | str | None]:
    values = []
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        values.append(outcome.value)
    return values


def parsed(text: str) -> dict[str, Any]:
    health: dict[str, Any] = json.loads(text)
    return health
