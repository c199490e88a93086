"""Reads from a Redis or Valkey Cluster that degrade and never fail.

One call reads a key: from its primary; when that node is dead, hung, moving or overloaded, from a
replica; and when no node may answer, from your own store through a callback.
``Router`` is for asyncio, ``failsoft.blocking.Router`` for threads.
"""

import os

from . import _callbacks as _callbacks  # The extension needs it at the first call, when no file may be to be had.
from . import blocking as blocking  # So that `failsoft.blocking.Router` needs no import of its own.
from ._config import Config
from ._errors import (
    Closed,
    ConfigError,
    DeadlineExceeded,
    DecodeError,
    FailsoftError,
    Forked,
    InternalError,
    InvalidArgument,
    InvalidationIncomplete,
    Reentrant,
    Shed,
    Unavailable,
    WriteRefused,
)
from ._failsoft import LastInvalidation, Outcome, Tls, __version__, after_fork
from ._router import Router
from ._types import (
    BlockingFallback,
    BlockingManyFallback,
    Cause,
    Coalesce,
    Durability,
    Fallback,
    Health,
    InvalidationRecord,
    ManyFallback,
    PendingInvalidation,
    Reason,
    ServedBy,
    ShedCause,
    Step,
)
from ._writing import Writing

__all__ = [
    "BlockingFallback",
    "BlockingManyFallback",
    "Cause",
    "Closed",
    "Coalesce",
    "Config",
    "ConfigError",
    "DeadlineExceeded",
    "DecodeError",
    "Durability",
    "FailsoftError",
    "Fallback",
    "Forked",
    "Health",
    "InternalError",
    "InvalidArgument",
    "InvalidationIncomplete",
    "InvalidationRecord",
    "LastInvalidation",
    "ManyFallback",
    "Outcome",
    "PendingInvalidation",
    "Reason",
    "Reentrant",
    "Router",
    "ServedBy",
    "Shed",
    "ShedCause",
    "Step",
    "Tls",
    "Unavailable",
    "WriteRefused",
    "Writing",
    "__version__",
]

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
