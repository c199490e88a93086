import asyncio
from collections.abc import Iterable, Sequence
from types import GenericAlias
from typing import Any, Generic, Literal, final

from typing_extensions import Self, TypeVar, disjoint_base

from ._types import (
    BlockingFallback,
    BlockingManyFallback,
    Fallback,
    InvalidationRecord,
    Key,
    ManyFallback,
    Reason,
    ServedBy,
)

__all__ = [
    "AsyncRouter",
    "BlockingRouter",
    "EventLoop",
    "LastInvalidation",
    "Load",
    "Outcome",
    "Parent",
    "Router",
    "Tls",
    "Writer",
    "__version__",
    "after_fork",
    "run_command",
    "settings",
    "vocabulary",
]

__version__: str

_V = TypeVar("_V", bytes, str, default=bytes)
# What the calls of a router give: a read, one with its account, many keys with theirs, their values, nothing, a record,
# yes or no; and what they take to be called.
_One = TypeVar("_One", covariant=True)
_Account = TypeVar("_Account", covariant=True)
_Many = TypeVar("_Many", covariant=True)
_Values = TypeVar("_Values", covariant=True)
_Nothing = TypeVar("_Nothing", covariant=True)
_Last = TypeVar("_Last", covariant=True)
_Said = TypeVar("_Said", covariant=True)
_Callback = TypeVar("_Callback", contravariant=True)
_ManyCallback = TypeVar("_ManyCallback", contravariant=True)

@disjoint_base
class Router(Generic[_One, _Account, _Many, _Values, _Nothing, _Last, _Said, _Callback, _ManyCallback]):
    def get_with_fallback(
        self,
        key: Key,
        fallback: _Callback | None = None,
        *,
        recompute: _Callback | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
        staleness_budget: float | None = None,
    ) -> _One: ...
    def resolve(
        self,
        key: Key,
        fallback: _Callback | None = None,
        *,
        recompute: _Callback | None = None,
        ttl: float | None = None,
        deadline: float | None = None,
        staleness_budget: float | None = None,
    ) -> _Account: ...
    def resolve_many(
        self,
        keys: Iterable[Key],
        fallback: _ManyCallback,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        staleness_budget: float | None = None,
    ) -> _Many: ...
    def get_many_with_fallback(
        self,
        keys: Iterable[Key],
        fallback: _ManyCallback,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
        staleness_budget: float | None = None,
    ) -> _Values: ...
    def set(self, key: Key, value: bytes | str | bytearray | memoryview, ttl: float | None = None) -> _Nothing: ...
    def invalidate(self, *keys: Key, hold: float | None = None) -> _Nothing: ...
    def last_invalidation(self, key: Key) -> _Last: ...
    def within_staleness_budget(self, key: Key, max_age: float = 2.0) -> _Said: ...
    def ready(self, timeout: float) -> _Nothing: ...
    def close(self) -> _Nothing: ...
    def health_json(self) -> str: ...
    def _open(self, nodes: Iterable[str] | str, config: dict[str, Any]) -> None: ...
    @property
    def state(self) -> Literal["connecting", "ready", "closed", "forked"]: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

class AsyncRouter(
    Router[
        asyncio.Future[_V | None],
        asyncio.Future[Outcome[_V]],
        asyncio.Future[list[Outcome[_V] | BaseException]],
        asyncio.Future[list[_V | None]],
        asyncio.Future[None],
        asyncio.Future[LastInvalidation | None],
        asyncio.Future[bool],
        Fallback,
        ManyFallback,
    ],
    Generic[_V],
):
    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...

class BlockingRouter(
    Router[
        _V | None,
        Outcome[_V],
        list[Outcome[_V] | BaseException],
        list[_V | None],
        None,
        LastInvalidation | None,
        bool,
        BlockingFallback,
        BlockingManyFallback,
    ],
    Generic[_V],
):
    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...

@final
class Outcome(Generic[_V]):
    def __new__(
        cls,
        value: _V | None,
        served_by: ServedBy,
        reason: Reason | None = None,
        *,
        age: float | None = ...,
        attempts: int = 0,
        coalesced: bool = False,
        node: str | None = None,
    ) -> Self: ...
    @property
    def value(self) -> _V | None: ...
    @property
    def served_by(self) -> ServedBy: ...
    @property
    def reason(self) -> Reason | None: ...
    @property
    def age(self) -> float | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def coalesced(self) -> bool: ...
    @property
    def node(self) -> str | None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class LastInvalidation:
    def __new__(
        cls,
        *,
        age: float | None = None,
        at: float | None = None,
        id: str | None = None,
        own: bool = False,
        record: InvalidationRecord = "mark",
    ) -> Self: ...
    @property
    def age(self) -> float | None: ...
    @property
    def at(self) -> float | None: ...
    @property
    def id(self) -> str | None: ...
    @property
    def own(self) -> bool: ...
    @property
    def record(self) -> InvalidationRecord: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Tls:
    def __new__(
        cls,
        *,
        ca_pem: bytes | str | None = None,
        client_cert_pem: bytes | str | None = None,
        client_key_pem: bytes | str | None = None,
        server_name: str | None = None,
        danger_accept_invalid_certs: bool = False,
    ) -> Self: ...

@final
class Writer:
    def __new__(cls, keys: tuple[Key, ...]) -> Self: ...
    def begin(self, router: Router[Any, Any, Any, Any, _Nothing, Any, Any, Any, Any]) -> _Nothing: ...
    def end(self, router: Router[Any, Any, Any, Any, _Nothing, Any, Any, Any, Any]) -> _Nothing: ...
    def give_up(self) -> None: ...

@final
class Load:
    @property
    def id(self) -> int: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def callback(self) -> Literal["fallback", "recompute"]: ...
    def wanted(self) -> list[bytes]: ...
    def step(self, function: Any, *arguments: Any) -> None: ...
    def begin(self) -> bool: ...
    def give(self, result: object) -> None: ...
    def give_many(self, result: object) -> None: ...
    def fail(self, exception: object) -> None: ...
    def interrupt(self, exception: object) -> None: ...
    def abandon(self) -> None: ...

@final
class Parent: ...

@final
class EventLoop:
    def drain(self) -> None: ...
    def waiting(self) -> int: ...

def after_fork() -> None: ...
def run_command(arguments: Sequence[str]) -> int: ...
def settings() -> dict[str, tuple[float | int | bool | str | None, str]]: ...
def vocabulary() -> dict[str, list[str]]: ...
