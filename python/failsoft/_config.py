"""The settings as types, and the signature of a router: what exists, its default and its range are the core's word."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ._failsoft import Tls, settings


class Config(TypedDict, total=False):
    """Keyword arguments of a router; durations are in seconds.

    Beside them stands ``decode_responses``, by which type checkers know what reads give.
    """

    max_retries: int
    max_redirects: int
    base_backoff: float
    attempt_timeout: float
    deadline: float
    connect_timeout: float
    slot_refresh_interval: float
    outage_budget: float
    fill: bool
    fill_ttl: float
    ttl_jitter: float
    load_timeout: float
    failure_pause: float | None
    max_concurrent_loads: int
    max_in_flight: int
    address_map: Mapping[str, str] | Sequence[str] | str | None
    username: str | None
    password: str | None
    client_name: str | None
    tls: Tls | bool | None


class Signature:
    """What ``inspect.signature`` and ``help`` show of a router's class: each setting by its name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._init: object = vars(owner)["__init__"]

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        # A subclass with an `__init__` of its own has a signature of its own.
        if instance is not None or inspect.getattr_static(owner, "__init__") is not self._init:
            raise AttributeError("__signature__")
        parameter = inspect.Parameter
        named: dict[str, Any] = {name: default for name, (default, _) in settings().items()}
        named |= {"tls": None, "decode_responses": False}
        return inspect.Signature(
            [
                parameter("nodes", parameter.POSITIONAL_OR_KEYWORD),
                *(parameter(name, parameter.KEYWORD_ONLY, default=default) for name, default in named.items()),
            ]
        )
