"""The types that name what a router takes and gives. Their words and fields are the core's: a test compares them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

#: Which source answered.
ServedBy: TypeAlias = Literal["near", "primary", "replica", "secondary", "stale", "none"]

#: Why the primary did not serve a read.
Reason: TypeAlias = Literal[
    "absent",
    "expired",
    "evicted",
    "invalidated",
    "unknown",
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
    "slow_source",
    "shed",
    "failed_source",
]

#: Why a write was refused, or a step of an invalidation was not acknowledged.
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
    "lease_gone",
    "held",
    "server_refused",
    "denied",
    "error_reply",
    "protocol",
    "timeout",
    "connection",
    "not_replicated",
    "busy",
]

#: A step of an invalidation: the key is held, if it was to be (`hold`), it is deleted (`key`), that is announced in
#: another shard (`echo`), and replicas have it (`replicas`).
Step: TypeAlias = Literal["hold", "key", "echo", "replicas"]

#: Where it is known from that a key was invalidated: the mark beside the key (`mark`) or in another shard (`echo`),
#: what this process made or heard of (`process`), or the log (`log`).
InvalidationRecord: TypeAlias = Literal["mark", "echo", "process", "log"]

#: Why a fallback was not called.
ShedCause: TypeAlias = Literal["breaker_open", "queue_full"]

#: Who has to have an invalidation before it is complete: its primary alone, one replica, too, or all of them.
Durability: TypeAlias = Literal["primary", "replica", "all"]

#: What equal reads under way share: the runs of callbacks, or the requests to nodes, too.
Coalesce: TypeAlias = Literal["loads", "reads"]


class PendingInvalidation(NamedTuple):
    """A step of a key's invalidation that was not acknowledged."""

    #: The key; of text, its UTF-8.
    key: bytes
    #: Which step.
    step: Step
    #: Why.
    cause: Cause


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

    #: `status` of an attempt, or `served_by` of a read (`error` for an error to the caller).
    what: str
    #: Why the primary did not serve; empty if it did.
    reason: str
    #: How many.
    count: int


class Counters(TypedDict):
    """What a router counted since it was made; only what is above zero is listed."""

    #: Attempts by status and reason: one read can add several.
    attempts: list[Count]
    #: Reads by source and reason: every read that ended, exactly once.
    reads: list[Count]
    #: Runs of callbacks.
    loads: int
    #: Loads whose callback was not run, to spare the store: its breaker was open, or the line too long.
    shed: int
    #: Served values that were compared with what the store has (`verify_sample`), by what that came to (in `what`):
    #: `fresh`, `stale` or `raced`.
    verified: list[Count]
    #: Loaded values written back.
    fills: int
    #: Loaded values not written back, by cause (in `what`).
    fills_skipped: list[Count]
    #: Values set.
    sets: int
    #: Those of them that went to a node of which it was not known whether it is in the majority.
    sets_in_doubt: int
    #: Those of them that found that a writer holds the key: it was deleted instead.
    sets_held: int
    #: `set` calls that were refused, by cause (in `what`).
    sets_refused: list[Count]
    #: Keys invalidated, those included that were sent again.
    invalidations: int
    #: Attempts at it of which a step was not acknowledged in time; it is sent again.
    invalidations_incomplete: int
    #: Entries of the log of invalidations that were not written. Nothing that is read depends on it.
    invalidations_unlogged: int
    #: Panics in the background: defects of ours, after which it went on.
    panics: int


class BallotHealth(TypedDict):
    """What one node said of the cluster's health."""

    #: The node that said it.
    address: str
    #: Milliseconds since it was asked.
    age_ms: int
    #: The primaries that own slots, in its view.
    primaries: int
    #: Those that are neither FAIL nor PFAIL.
    primaries_ok: int
    #: Whether that is more than half of them: by its own view the node is in the majority.
    majority: bool
    #: The highest config epoch in its view.
    epoch: int
    #: `cluster_state` is ok; None where an ACL denies `CLUSTER INFO`.
    cluster_ok: bool | None
    #: `cluster_slots_pfail`.
    slots_pfail: int | None
    #: `cluster_slots_fail`.
    slots_fail: int | None
    #: `cluster_current_epoch`.
    current_epoch: int | None
    #: `cluster_my_epoch`.
    my_epoch: int | None


class NodeHealth(TypedDict):
    """One node; times are in milliseconds."""

    #: Where it listens.
    address: str
    #: Its node id.
    id: str | None
    #: `primary` or `replica`, by the newest view.
    role: Literal["primary", "replica"]
    #: A replica's primary.
    replica_of: str | None
    #: Its config epoch.
    epoch: int
    #: How many slots it owns.
    slots: int
    #: `closed`, `open`, `half_open` or `readmitting`.
    breaker: Literal["closed", "open", "half_open", "readmitting"]
    #: Why it gets no reads.
    trouble: Reason | None
    #: For how long it has got none.
    trouble_ms: int | None
    #: Time since its last answer.
    contact_ms: int | None
    #: For a replica: how long ago it was last known to hold all that its primary had.
    lag_ms: int | None
    #: Whether it is proved to be the primary it is taken for, so that it may be written to.
    validated: bool
    #: Whether the cluster counts it as failed.
    failed: bool
    #: On which side of a partition it is: `majority` (or nothing speaks against it), `minority` (it is in quarantine),
    #: or `unknown`.
    verdict: Literal["majority", "minority", "unknown"]
    #: How it is listened to for invalidations: `heard` (all that it tells is known), `open` (up to when that is
    #: complete is not known just now), `closed`, `denied` (it does not let us), or `too_costly` (it has too many
    #: clients). None if it owns no slots.
    listening: Literal["heard", "open", "closed", "denied", "too_costly"] | None
    #: The same for what happens to the keys of the near cache; None without one.
    tracking: Literal["heard", "open", "closed", "denied", "too_costly"] | None
    #: The same for which keys it evicts and which have expired; None without `eviction_events`. Whether its
    #: `notify-keyspace-events` lets it tell that is not known.
    events: Literal["heard", "open", "closed", "denied", "too_costly"] | None
    #: Requests in flight to it.
    in_flight: int
    #: `cluster_state` is ok, by its own word.
    cluster_ok: bool
    #: The highest epoch it has seen.
    current_epoch: int | None
    #: Its replication offset.
    offset: int | None
    #: Whether a replica has a link to its primary.
    link_up: bool | None
    #: A replica's `replica-priority`: the lowest is promoted first, 0 never.
    priority: int | None
    #: `evicted_keys`.
    evicted: int | None
    #: `expired_keys`.
    expired: int | None
    #: `maxmemory_policy`.
    maxmemory_policy: str | None
    #: The server's version.
    version: str | None
    #: What the server refuses, as unknown or as not allowed, so that what needs it is missing.
    denied: list[str]


class StoreHealth(TypedDict):
    """The breaker of your own store, which callbacks ask; times are in milliseconds."""

    #: `closed`, `open` (loads are shed), or `half_open` (some are let in, to see how it is).
    state: Literal["closed", "open", "half_open"]
    #: For how long that has been so.
    state_ms: int
    #: Why it is not closed.
    trouble: Literal["failing", "slow"] | None
    #: The newest calls: those that ended within six seconds, or as many more seconds, up to a minute, as it takes for
    #: 20 calls; and those that run and have taken longer than `slo` already.
    calls: int
    #: The share of them that failed.
    failure_share: float
    #: What 95 of 100 of them did not exceed, rounded up by an eighth at the most; None without calls.
    p95_ms: int | None
    #: `max_retries` as it is in force: no more than 2 while more than one in twenty of these calls takes longer than
    #: `slo`, until they have been fast again for a minute.
    max_retries: int
    #: `coalesce` as it is in force: `reads` during the same time.
    coalesce: Coalesce
    #: How often that time has begun so far.
    slowed: int


class Health(TypedDict):
    """What a router knows of the cluster and of itself, at one moment."""

    #: The router's own name, eight hexadecimal digits drawn when it was made: the ids of its invalidations begin with
    #: it.
    id: str
    #: `cluster`, `standalone` (a single server without cluster mode), or `unknown` as long as no view has come.
    kind: Literal["unknown", "cluster", "standalone"]
    #: Whether the router was closed.
    closed: bool
    #: Slots that have an owner, of 16,384.
    slots_assigned: int
    #: Slots whose owner gets reads.
    slots_ok: int
    #: No majority of the cluster is in reach: reads go to the callback, nothing is written.
    down: bool
    #: More than half of the slots' owners are out of this router's own reach.
    isolated: bool
    #: What nodes said of the cluster's health when they were last asked because something was wrong: at most five.
    ballots: list[BallotHealth]
    #: Redirected slots that no view has confirmed yet.
    moved_patches: int
    #: Retries that the router-wide budget allows now.
    retry_tokens: int
    #: Refreshes of the view so far.
    refreshes: int
    #: Keys being loaded by callbacks.
    flights: int
    #: Reads that wait for a callback.
    waiters: int
    #: Loads that wait in line, because `max_concurrent_loads` run.
    queued_loads: int
    #: Callbacks that run on after `load_timeout`.
    detached_loads: int
    #: Copies of values in this process, which may stand in when nothing else can answer.
    copies: int
    #: How many bytes they take, keys and what keeping them costs included; at most `near_cache_bytes` or
    #: `standin_bytes`.
    copies_bytes: int
    #: Your own store, as the calls of the callbacks show it.
    store: StoreHealth
    #: Keys that this router invalidated, or heard that another one did, within `invalidation_ttl`.
    invalidations: int
    #: Those of them that no node has acknowledged, or that another owner may have lost: they are read from their
    #: callbacks alone until they are told again, or, if another router made them, only together with their marks.
    invalidations_owed: int
    #: What runs in the background panicked when it last ran: views and probes may be missing. It is a defect of ours,
    #: and is tried again after a pause of at most five seconds.
    stalled: bool
    #: The nodes that gave no view of the cluster when last asked, or that refuse reads, and what they said or did
    #: instead.
    refusals: dict[str, str]
    #: The nodes.
    nodes: list[NodeHealth]
    #: What was counted since the router was built.
    counters: Counters
