"""Whether a callback takes the reason beside the key: asked for each load, so it costs about as much as a call."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

#: By code, by how many of its parameters are bound already (as the object of a method is), and by how many have a
#: default: code of the same text is equal, whatever the defaults are.
_BY_CODE: WeakKeyDictionary[CodeType, dict[tuple[int, int], bool]] = WeakKeyDictionary()
#: What only `inspect` can tell: functions that wrap others, types whose `__call__` is no plain function.
_BY_OBJECT: WeakKeyDictionary[Any, dict[int, bool]] = WeakKeyDictionary()
#: Functions in C, by name: `dict.get`.
_BY_NAME: dict[str, bool] = {}
#: How many names are remembered at most.
_NAMES = 1_024


def wants_reason(fallback: Callable[..., object]) -> bool:
    """Whether it has a second parameter without a default, or one named `reason`."""
    kind = type(fallback)
    if kind is FunctionType:
        return _function(fallback, 0)
    if kind is MethodType and type(fallback.__func__) is FunctionType:  # type: ignore[attr-defined]
        return _function(fallback.__func__, 1)  # type: ignore[attr-defined]
    if kind is partial:
        return _partial(fallback)  # type: ignore[arg-type]
    if kind is BuiltinFunctionType:
        return _builtin(fallback)
    called = getattr(kind, "__call__", None)  # noqa: B004
    if type(called) is FunctionType and not hasattr(fallback, "__signature__"):
        return _function(called, 1)
    return _inspected(fallback, 0)


def _function(function: Any, taken: int) -> bool:
    """The same for a function whose first `taken` parameters are bound already."""
    if function.__dict__ and ("__wrapped__" in function.__dict__ or "__signature__" in function.__dict__):
        known = _BY_OBJECT.get(function)
        if known is None:
            known = _BY_OBJECT[function] = {}
        if taken not in known:
            known[taken] = _by_parameters(function, taken)
        return known[taken]
    by_taken = _BY_CODE.get(function.__code__)
    if by_taken is None:
        by_taken = _BY_CODE[function.__code__] = {}
    bound = (taken, len(function.__defaults__ or ()))
    if (wanted := by_taken.get(bound)) is None:
        wanted = by_taken[bound] = _second(*_positional(function), taken)
    return wanted


def _positional(function: Any) -> tuple[tuple[str, ...], int]:
    """The names of the positional parameters, and how many of them have no default."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    return names, len(names) - len(function.__defaults__ or ())


def _second(names: tuple[str, ...], required: int, taken: int) -> bool:
    second = taken + 1
    return len(names) > second and (second < required or names[second] == "reason")


def _partial(fallback: partial[object]) -> bool:
    function, taken = fallback.func, len(fallback.args)
    if type(function) is MethodType:
        function, taken = function.__func__, taken + 1
    if type(function) is not FunctionType or function.__dict__:
        return _by_parameters(fallback, 0)
    if not fallback.keywords:
        return _function(function, taken)
    names, required = _positional(function)
    # From the first one that is given by name on, all have to be.
    given = [place for place, name in enumerate(names) if name in fallback.keywords]
    return _second(names[: min(given)] if given else names, required, taken)


def _builtin(fallback: Any) -> bool:
    name = f"{fallback.__module__}.{fallback.__qualname__}"
    if (wanted := _BY_NAME.get(name)) is None:
        if len(_BY_NAME) >= _NAMES:
            _BY_NAME.clear()
        wanted = _BY_NAME[name] = _by_parameters(fallback, 0)
    return wanted


def _inspected(fallback: Any, taken: int) -> bool:
    try:
        known = _BY_OBJECT.get(fallback)
    except TypeError:
        # Neither hashed nor referred to weakly.
        return _by_parameters(fallback, taken)
    if known is None:
        known = {taken: _by_parameters(fallback, taken)}
        with contextlib.suppress(TypeError):
            _BY_OBJECT[fallback] = known
    return known[taken]


def _by_parameters(fallback: Any, taken: int) -> bool:
    try:
        parameters = list(inspect.signature(fallback).parameters.values())
    except (TypeError, ValueError):
        # A function in C that does not say what it takes.
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is inspect.Parameter.empty for p in positional)
    return _second(tuple(p.name for p in positional), required, taken)
