"""Runs callbacks: as tasks of an event loop, or in the thread that waits."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary, ref

from ._errors import InvalidArgument
from ._failsoft import EventLoop, Load

_WANTS_REASON: WeakKeyDictionary[CodeType, bool] = WeakKeyDictionary()


def wants_reason(fallback: Callable[..., object]) -> bool:
    """Whether a callback takes the reason beside the key: a second parameter without a default, or named so."""
    function = getattr(fallback, "__func__", fallback)
    code = None if hasattr(function, "__wrapped__") else getattr(function, "__code__", None)
    if code is None:
        return _two_parameters(fallback)
    if (known := _WANTS_REASON.get(code)) is None:
        known = _WANTS_REASON[code] = _two_parameters(function)
    # Of a method, the first parameter is the object.
    return known if function is fallback else _two_parameters(fallback)


def _two_parameters(fallback: Callable[..., object]) -> bool:
    try:
        parameters = list(inspect.signature(fallback).parameters.values())
    except (TypeError, ValueError):
        # A function in C that does not say what it takes.
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 and (positional[1].default is inspect.Parameter.empty or positional[1].name == "reason")


def _arguments(load: Load, fallback: Callable[..., object], asked: object) -> tuple[object, ...]:
    if isinstance(asked, list):
        given = {key.encode() if isinstance(key, str) else key: key for key in asked}
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
        # What is to be cancelled when nobody waits any more: a call that is to come, then a task.
        self._running: dict[int, asyncio.Handle | asyncio.Future[Any]] = {}

    def run(self, load: Load, fallback: Callable[..., Any], context: contextvars.Context, asked: object) -> None:
        """Runs one in its caller's context, from the loop itself: what it raises is told like any other error."""
        self._running[load.id] = self._loop.call_soon(self._start, load, fallback, asked, context=context)

    def stop(self, id: int) -> None:
        """Nobody waits for this one any more."""
        if (running := self._running.pop(id, None)) is not None:
            running.cancel()

    def _start(self, load: Load, fallback: Callable[..., Any], asked: object) -> None:
        load.enter()
        try:
            result = fallback(*_arguments(load, fallback, asked))
            if inspect.isawaitable(result):
                task = asyncio.ensure_future(result, loop=self._loop)
                self._running[load.id] = task
                task.add_done_callback(partial(self._ended, load, asked))
                return
        except asyncio.CancelledError:
            load.abandon()
        except Exception as error:
            load.fail(error)
        except BaseException:
            load.abandon()
            raise
        else:
            _give(load, asked, result)
        self._running.pop(load.id, None)

    def _ended(self, load: Load, asked: object, task: asyncio.Future[Any]) -> None:
        self._running.pop(load.id, None)
        if task.cancelled():
            load.abandon()
        elif (error := task.exception()) is None:
            _give(load, asked, task.result())
        elif isinstance(error, Exception):
            load.fail(error)
        else:
            load.abandon()


def run_here(load: Load, fallback: Callable[..., Any], asked: object) -> None:
    """Runs a callback in the thread that waits for it."""
    context = contextvars.copy_context()
    context.run(load.enter)
    try:
        result = context.run(fallback, *_arguments(load, fallback, asked))
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            error = InvalidArgument("the fallback is async; that needs failsoft.Router")
            error.argument = "fallback"
            raise error
    except Exception as error:
        load.fail(error)
    except BaseException:
        load.abandon()
        raise
    else:
        _give(load, asked, result)


def drain(reads: ref[EventLoop]) -> None:
    """Hands out what has come to a loop, unless the loop is closed."""
    if (here := reads()) is not None:
        here.drain()


__all__ = ["Callbacks", "drain", "run_here", "wants_reason"]
