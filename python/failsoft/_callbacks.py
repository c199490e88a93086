"""Runs callbacks: as tasks of an event loop, or in the thread that waits.

An exception of a signal's handler may come anywhere in here. Steps that have not begun are taken again
(``Load.step``), everything else is inside a ``try`` whose exceptions reach who waits for the load.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

from ._errors import InvalidArgument
from ._failsoft import EventLoop, Load
from ._signatures import wants_reason

#: Exceptions about the thread or the loop they are raised in, rather than answers of a callback.
OF_THE_THREAD = (KeyboardInterrupt, SystemExit)


def _octets(key: str | bytes) -> bytes:
    """A key's bytes as the core has them: a subclass may have an ``encode``, a hash or an equality of its own."""
    if isinstance(key, str):
        return str.encode(key)
    return key if type(key) is bytes else memoryview(key).tobytes()


def _arguments(load: Load, fallback: Callable[..., object], asked: object) -> tuple[object, ...]:
    if isinstance(asked, list):
        given = {_octets(key): key for key in asked}
        return ([given[key] for key in load.wanted()],)
    return (asked, load.reason) if wants_reason(fallback) else (asked,)


def _give(load: Load, asked: object, result: object) -> None:
    if isinstance(asked, list):
        load.give_many(result)
    else:
        load.give(result)


class Callbacks:
    """The callbacks that run on one event loop, each as a task of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # What to cancel when nobody waits any more: first the scheduled call, then the task.
        self._running: dict[int, asyncio.Handle | asyncio.Future[Any]] = {}

    def run(self, load: Load, fallback: Callable[..., Any], context: contextvars.Context, asked: object) -> None:
        """Runs one in its caller's context, from the loop itself: what it raises is told like any other error."""
        self._running[load.id] = self._loop.call_soon(load.step, self._start, fallback, asked, context=context)

    def stop(self, id: int) -> None:
        """Cancels one that nobody waits for any more."""
        if (running := self._running.pop(id, None)) is not None:
            running.cancel()

    def _start(self, load: Load, fallback: Callable[..., Any], asked: object) -> None:
        try:
            if load.begin():
                result = fallback(*_arguments(load, fallback, asked))
                if inspect.isawaitable(result):
                    task = asyncio.ensure_future(result, loop=self._loop)
                    self._running[load.id] = task
                    task.add_done_callback(partial(load.step, self._ended, asked))
                    return
                _give(load, asked, result)
        except asyncio.CancelledError:
            load.abandon()
        except OF_THE_THREAD as error:
            load.interrupt(error)
            raise
        except BaseException as error:
            load.fail(error)
        self._running.pop(load.id, None)

    def _ended(self, load: Load, asked: object, task: asyncio.Future[Any]) -> None:
        try:
            self._running.pop(load.id, None)
            if task.cancelled():
                load.abandon()
            elif (error := task.exception()) is None:
                _give(load, asked, task.result())
            elif isinstance(error, OF_THE_THREAD):
                # The loop has raised it already.
                load.interrupt(error)
            else:
                load.fail(error)
        except OF_THE_THREAD as error:
            load.interrupt(error)
            raise
        except BaseException as error:
            load.fail(error)


def run_here(load: Load, fallback: Callable[..., Any], asked: object) -> None:
    """Runs a callback in the thread that waits for it; its result is read inside the load, too."""
    contextvars.copy_context().run(_run_inside, load, fallback, asked)


def _run_inside(load: Load, fallback: Callable[..., Any], asked: object) -> None:
    try:
        if not load.begin():
            return
        result = fallback(*_arguments(load, fallback, asked))
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            error = InvalidArgument(f"the {load.callback} is async; that needs failsoft.Router")
            error.argument = load.callback
            raise error
        _give(load, asked, result)
    except (asyncio.CancelledError, *OF_THE_THREAD):
        load.abandon()
        raise
    except BaseException as error:
        load.fail(error)


def drain(reads: ref[EventLoop]) -> None:
    """Hands out what has come to a loop, unless the loop is closed."""
    if (here := reads()) is not None:
        here.drain()


def reschedule(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    callbacks: list[tuple[Callable[..., object], contextvars.Context]] | None,
) -> None:
    """Tells the callbacks of a Future that has ended, but for those that have been told."""
    # Without it `call_soon` is not Python, and so nothing of Python's comes between.
    ready: Any = getattr(loop, "_ready", None)
    if ready is None:
        return
    for callback, context in callbacks or ():
        told = any(handle._callback is callback and future in (handle._args or ()) for handle in list(ready))
        if not told:
            loop.call_soon(callback, future, context=context)


__all__ = ["Callbacks", "drain", "reschedule", "run_here", "wants_reason"]
