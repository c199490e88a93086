"""The types that name what a router takes and gives. Their words and fields are the core's: a test compares them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias, TypedDict

#: Which source answered.
ServedBy: TypeAlias = Literal["primary", "replica", "secondary", "none"]

#: Why the primary did not serve a read.
Reason: TypeAlias = Literal[
    "absent",
    "timeout",
    "connection",
    "loading",
    "cluster_down",
    "breaker_open",
    "quarantined",
    "slot_uncovered",
    "redirect_limit",
    "error_reply",
    "protocol",
    "deadline",
]

#: Why a write was refused.
Cause: TypeAlias = Literal[
    "slot_uncovered",
    "no_view",
    "breaker_open",
    "quarantined",
    "verdict_unknown",
    "cluster_down",
    "loading",
    "no_contact",
    "not_proved",
    "owner_changed",
    "redirect_limit",
    "exists",
    "server_refused",
    "denied",
    "error_reply",
    "protocol",
    "timeout",
    "connection",
    "busy",
]

#: A key of a call; for text, its UTF-8.
Key: TypeAlias = bytes | str | bytearray | memoryview
#: What a fallback gives; None if the key does not exist.
Loaded: TypeAlias = bytes | str | bytearray | memoryview | None
LoadedMany: TypeAlias = Mapping[Any, Loaded]

#: A fallback of `failsoft.Router`: takes the key, or the key and the reason.
Fallback: TypeAlias = Callable[[Any], Loaded | Awaitable[Loaded]] | Callable[[Any, Any], Loaded | Awaitable[Loaded]]
#: One for many keys: takes the missing ones, gives those that exist.
ManyFallback: TypeAlias = Callable[[list[Any]], LoadedMany | Awaitable[LoadedMany]]
#: The same of `failsoft.blocking.Router`.
BlockingFallback: TypeAlias = Callable[[Any], Loaded] | Callable[[Any, Any], Loaded]
BlockingManyFallback: TypeAlias = Callable[[list[Any]], LoadedMany]


class Count(TypedDict):
    """A counter with its labels."""

    what: str
    reason: str
    count: int


class Counters(TypedDict):
    """What a router counted since it was made; only what is above zero is listed."""

    attempts: list[Count]
    reads: list[Count]
    loads: int
    fills: int
    fills_skipped: list[Count]
    sets: int
    sets_in_doubt: int
    sets_refused: list[Count]
    panics: int


class BallotHealth(TypedDict):
    """What one node said of the cluster's health."""

    address: str
    age_ms: int
    primaries: int
    primaries_ok: int
    majority: bool
    epoch: int
    cluster_ok: bool | None
    slots_pfail: int | None
    slots_fail: int | None
    current_epoch: int | None
    my_epoch: int | None


class NodeHealth(TypedDict):
    """One node; times are in milliseconds."""

    address: str
    id: str | None
    role: Literal["primary", "replica"]
    replica_of: str | None
    epoch: int
    slots: int
    breaker: Literal["closed", "open", "half_open", "readmitting"]
    trouble: Reason | None
    trouble_ms: int | None
    contact_ms: int | None
    lag_ms: int | None
    validated: bool
    failed: bool
    verdict: Literal["majority", "minority", "unknown"]
    in_flight: int
    cluster_ok: bool
    current_epoch: int | None
    offset: int | None
    link_up: bool | None
    priority: int | None
    evicted: int | None
    expired: int | None
    maxmemory_policy: str | None
    version: str | None
    denied: list[str]


class Health(TypedDict):
    """What a router knows of the cluster and of itself, at one moment."""

    kind: Literal["unknown", "cluster", "standalone"]
    closed: bool
    slots_assigned: int
    slots_ok: int
    down: bool
    isolated: bool
    ballots: list[BallotHealth]
    moved_patches: int
    retry_tokens: int
    refreshes: int
    flights: int
    waiters: int
    detached_loads: int
    stalled: bool
    refusals: dict[str, str]
    nodes: list[NodeHealth]
    counters: Counters
