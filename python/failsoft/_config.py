"""The settings as types, and the signature of a router: what exists, its default and its range are the core's word."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ._failsoft import Tls, settings
from ._types import Coalesce, Durability


class Config(TypedDict, total=False):
    """Keyword arguments of a router; durations are in seconds, and None is off. Its signature has the defaults.

    Beside them stands ``decode_responses``, by which type checkers know what reads give.
    """

    #: How many more attempts on the primary a read may make after its first.
    max_retries: int
    #: How many redirects a read may follow.
    max_redirects: int
    #: The pause before another attempt on the same source; it doubles, with full jitter.
    base_backoff: float
    #: The most time for one attempt on one node.
    attempt_timeout: float
    #: The most time for the whole cluster side of a read.
    deadline: float
    #: The most time to open a connection, with TLS and login.
    connect_timeout: float
    #: How often the slot map and the nodes are looked at when nothing is wrong.
    slot_refresh_interval: float
    #: How old a stand-in (the answer of a replica, or a copy in this process) may be where invalidations of its key may
    #: have been missed. No more than `outage_budget` counts.
    staleness_budget: float
    #: How old it may be where all invalidations since then are known; 0 means that nothing ever stands in.
    outage_budget: float
    #: The most bytes of a near cache, which serves hot keys without asking a node while nothing can have happened to
    #: them that would not have been heard of; 0: there is none.
    near_cache_bytes: int
    #: The most bytes that copies of hot keys and of loaded values may take in this process, to stand in when nothing
    #: else can answer; 0: there are none.
    standin_bytes: int
    #: Whether a loaded value is written back to the primary that confirmed the miss.
    fill: bool
    #: The time to live of a value that is written back.
    fill_ttl: float
    #: The largest share of a time to live, from 0 to 1, that chance takes off it.
    ttl_jitter: float
    #: How early a key that is read often is loaded anew before its time to live has passed: 1 is about as early as its
    #: load takes; 0: not at all.
    early_refresh: float
    #: The share, from 0 to 1, of what primaries and near copies serve that is loaded again in the background, to
    #: compare.
    verify_sample: float
    #: For how long an invalidation is known: no replica serves what is older, and it is sent again after a failover. No
    #: more than this of `outage_budget` counts.
    invalidation_ttl: float
    #: How old the proof may be that a node still tells its invalidations.
    trust_window: float
    #: Who has to have an invalidation before it is complete: its primary alone, one replica, too, or all of them.
    invalidate_durability: Durability
    #: For how long a writer inside `writing` holds its keys; its transaction has to be over by then.
    hold: float
    #: Whether nodes are asked to tell which keys they evict and which have expired; it takes `notify-keyspace-events`
    #: with `Exe` on the servers.
    eviction_events: bool
    #: The most time that callers wait for a load, its time in line included.
    load_timeout: float
    #: After so long a caller whose key has a copy that may stand in gets that, and the load goes on without it.
    soft_load_timeout: float | None
    #: For how long a callback's word that a key does not exist counts for later callers.
    negative_ttl: float | None
    #: For how long callers of a key whose load failed get the same error without another load.
    failure_pause: float | None
    #: For how long a lease stands that its load does not prolong. With it a load waits for another process's load of
    #: the same key, and takes over when that one's lease is gone.
    lease_ttl: float | None
    #: What equal reads under way share: the runs of callbacks, or the requests to nodes, too.
    coalesce: Coalesce
    #: How long a callback may take: while more than one in twenty takes longer, and loads wait in line for longer than
    #: that, loads are shed. None: only while half of the callbacks fail.
    slo: float | None
    #: The most loads that run at once; others wait in line, except those that a callback asks for.
    max_concurrent_loads: int
    #: The most reads in flight to one node; further ones go to the next source.
    max_in_flight: int
    #: Announced addresses and the reachable ones, for nodes behind NAT; in a list or a text as pairs `from=to`.
    address_map: Mapping[str, str] | Sequence[str] | str | None
    #: The ACL user to log in as.
    username: str | None
    #: The password to log in with. It never appears in errors.
    password: str | None
    #: The name of the connections in `CLIENT LIST`.
    client_name: str | None
    #: Encrypts all connections: `True`, or a `Tls` with authorities, a client certificate, a server name.
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
