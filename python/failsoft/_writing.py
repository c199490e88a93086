"""A writer's transaction with asyncio, and what its blocking twin shares with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._errors import FailsoftError
from ._failsoft import Writer

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from ._failsoft import AsyncRouter
    from ._types import Key


class Writing:
    """What ``failsoft.Router.writing`` gives: holds its keys inside of ``async with``, once."""

    __module__ = "failsoft"
    __slots__ = ("_router", "_writer")

    def __init__(self, router: AsyncRouter[Any], keys: tuple[Key, ...]) -> None:
        self._router = router
        self._writer = Writer(keys)

    async def __aenter__(self) -> None:
        begun = self._writer.begin(self._router)
        try:
            await begun
        except BaseException:
            # Also of a task that was cancelled when the hold had just been taken.
            self._writer.give_up()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._writer.end(self._router)
        except FailsoftError as ours:
            if error is None:
                raise
            put_behind(error, ours)


def put_behind(error: BaseException, ours: FailsoftError) -> None:
    """The transaction's own exception is the one that goes on, and tracebacks show ours with it."""
    ours.__context__, error.__context__ = error.__context__, ours
