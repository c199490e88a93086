import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, final

from typing_extensions import Self, Unpack, disjoint_base

from ._config import Config

__all__ = [
    "AsyncRouter",
    "BlockingRouter",
    "EventLoop",
    "Load",
    "Outcome",
    "Parent",
    "Tls",
    "__version__",
    "after_fork",
    "run_command",
    "settings",
]

__version__: str

_Key: TypeAlias = bytes | str
_Value: TypeAlias = bytes | str | None
_Fallback: TypeAlias = Callable[[Any], _Value | Awaitable[_Value]] | Callable[[Any, str], _Value | Awaitable[_Value]]
_BlockingFallback: TypeAlias = Callable[[Any], _Value] | Callable[[Any, str], _Value]
_Values: TypeAlias = Mapping[Any, _Value]
_ManyFallback: TypeAlias = Callable[[list[Any]], _Values | Awaitable[_Values]]
_BlockingManyFallback: TypeAlias = Callable[[list[Any]], _Values]

@disjoint_base
class AsyncRouter:
    def __new__(cls, nodes: Iterable[str] | str, **config: Unpack[Config]) -> Self: ...
    def get_with_fallback(
        self, key: _Key, fallback: _Fallback | None = None, *, ttl: float | None = None, deadline: float | None = None
    ) -> asyncio.Future[Any]: ...
    def resolve(
        self, key: _Key, fallback: _Fallback | None = None, *, ttl: float | None = None, deadline: float | None = None
    ) -> asyncio.Future[Outcome]: ...
    def resolve_many(
        self, keys: Iterable[_Key], fallback: _ManyFallback
    ) -> asyncio.Future[list[Outcome | Exception]]: ...
    def set(self, key: _Key, value: bytes | str, ttl: float | None = None) -> asyncio.Future[None]: ...
    def ready(self, timeout: float) -> asyncio.Future[None]: ...
    def close(self) -> asyncio.Future[None]: ...
    def health_json(self) -> str: ...

@disjoint_base
class BlockingRouter:
    def __new__(cls, nodes: Iterable[str] | str, **config: Unpack[Config]) -> Self: ...
    def get_with_fallback(
        self,
        key: _Key,
        fallback: _BlockingFallback | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> Any: ...
    def resolve(
        self,
        key: _Key,
        fallback: _BlockingFallback | None = None,
        *,
        ttl: float | None = None,
        deadline: float | None = None,
    ) -> Outcome: ...
    def resolve_many(self, keys: Iterable[_Key], fallback: _BlockingManyFallback) -> list[Outcome | Exception]: ...
    def set(self, key: _Key, value: bytes | str, ttl: float | None = None) -> None: ...
    def ready(self, timeout: float) -> None: ...
    def close(self) -> None: ...
    def health_json(self) -> str: ...

@final
class Outcome:
    @property
    def value(self) -> Any: ...
    @property
    def served_by(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def age(self) -> float: ...
    @property
    def attempts(self) -> int: ...
    @property
    def coalesced(self) -> bool: ...
    @property
    def node(self) -> str | None: ...

@final
class Tls:
    def __new__(
        cls,
        *,
        ca_pem: bytes | None = None,
        client_cert_pem: bytes | None = None,
        client_key_pem: bytes | None = None,
        server_name: str | None = None,
        danger_accept_invalid_certs: bool = False,
    ) -> Self: ...

@final
class Load:
    @property
    def id(self) -> int: ...
    @property
    def reason(self) -> str | None: ...
    def wanted(self) -> list[bytes]: ...
    def enter(self) -> None: ...
    def give(self, result: object) -> None: ...
    def give_many(self, result: object) -> None: ...
    def fail(self, exception: object) -> None: ...
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
