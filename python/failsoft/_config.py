"""The settings as types, for type checkers alone: what exists, its default and its range are the core's word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from ._failsoft import Tls


class Config(TypedDict, total=False):
    """Keyword arguments of a router; durations are in seconds."""

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
    max_in_flight: int
    address_map: Mapping[str, str] | Sequence[str] | str | None
    username: str | None
    password: str | None
    client_name: str | None
    tls: Tls | bool | None
    decode_responses: bool
