"""The errors, each kind told apart; a callback's own exception is none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._types import Cause, PendingInvalidation, Reason, ShedCause


class FailsoftError(Exception):
    """What all errors of Failsoft derive from."""

    #: The kind as a word, the same in every language.
    code: str = "INTERNAL"


class ConfigError(FailsoftError, ValueError):
    """A bad key, value or address among the settings; no connection was made."""

    code = "CONFIG"
    #: The setting.
    key: str


class InvalidArgument(FailsoftError, TypeError):
    """A bad key or value, or a fallback with a result that is no answer."""

    code = "INVALID_ARGUMENT"
    #: The argument.
    argument: str


class Unavailable(FailsoftError):
    """No source could say whether the key exists, or ``ready`` timed out."""

    code = "UNAVAILABLE"
    #: Why the primary did not serve.
    reason: Reason


class DeadlineExceeded(FailsoftError, TimeoutError):
    """The caller's deadline passed, or the fallback took longer than ``load_timeout``."""

    code = "DEADLINE_EXCEEDED"
    #: ``deadline`` or ``load_timeout``.
    limit: str


class Shed(FailsoftError):
    """The fallback was not called, to spare its store: the breaker is open, or too many loads wait in line."""

    code = "SHED"
    #: Which of the two.
    cause: ShedCause


class Reentrant(FailsoftError):
    """A fallback asked, directly or through others, for the key that it is loading."""

    code = "REENTRANT"
    #: The key that closes the circle.
    key: bytes


class WriteRefused(FailsoftError):
    """A ``set`` was refused, or nobody can say whether it was written."""

    code = "WRITE_REFUSED"
    #: Why.
    cause: Cause


class InvalidationIncomplete(FailsoftError):
    """Steps of an ``invalidate`` were not acknowledged within ``deadline``: they are sent again in the background.

    That goes on for ``invalidation_ttl``, as long as the router is open. Meanwhile this process reads keys whose
    deletion is pending from their fallbacks alone.
    """

    code = "INVALIDATION_INCOMPLETE"
    #: What was not acknowledged: one for each step of a key.
    pending: tuple[PendingInvalidation, ...]


class DecodeError(FailsoftError, UnicodeDecodeError):
    """With ``decode_responses=True``: the key's value is no UTF-8. ``object`` has its bytes; no fallback is asked."""

    code = "DECODE"
    #: The key.
    key: bytes = b""

    def __str__(self) -> str:
        why = UnicodeDecodeError.__str__(self)
        return f"the value of the key {self.key[:64]!r} is no text: {why}; read it without `decode_responses`"


class Closed(FailsoftError):
    """The router is closed."""

    code = "CLOSED"


class Forked(FailsoftError):
    """The router was made before this process was forked: make one after the fork."""

    code = "FORKED"


class InternalError(FailsoftError):
    """A defect of Failsoft."""

    code = "INTERNAL"


#: For the extension: the class for each code, the core's and `DECODE`.
BY_CODE: dict[str, type[FailsoftError]] = {
    error.code: error
    for error in (
        ConfigError,
        InvalidArgument,
        Unavailable,
        DeadlineExceeded,
        Shed,
        Reentrant,
        WriteRefused,
        InvalidationIncomplete,
        DecodeError,
        Closed,
        Forked,
        InternalError,
    )
}
