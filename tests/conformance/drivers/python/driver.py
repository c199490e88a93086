"""The Python driver of the conformance suite: does with `failsoft` what the lines on its input say.

`driver.py asyncio` drives `failsoft.Router`, `driver.py blocking` its twin for threads.
"""

import asyncio
import base64
import json
import sys
import threading
from typing import Any

import failsoft
import failsoft.blocking

PROTOCOL = 1
CANNOT = {
    "asyncio": {},
    "blocking": {
        "cancel": "a blocking call cannot be cancelled",
        "stop": "a callback that runs in the caller's own thread cannot be stopped",
        "elsewhere": "the caller's own thread runs its callback, and has nothing before that returns",
    },
}
CODES = {
    "ConfigError": "CONFIG",
    "InvalidArgument": "INVALID_ARGUMENT",
    "Unavailable": "UNAVAILABLE",
    "DeadlineExceeded": "DEADLINE_EXCEEDED",
    "Shed": "SHED",
    "Reentrant": "REENTRANT",
    "WriteRefused": "WRITE_REFUSED",
    "InvalidationIncomplete": "INVALIDATION_INCOMPLETE",
    "Closed": "CLOSED",
    "Forked": "FORKED",
    "InternalError": "INTERNAL",
}
# Thousands of callers wait in threads of their own; each needs little.
STACK = 512 * 1024

writing = threading.Lock()


def say(line: dict[str, Any]) -> None:
    text = json.dumps(line) + "\n"
    with writing:
        sys.stdout.write(text)
        sys.stdout.flush()


def bytes_of(blob: str) -> bytes:
    return base64.b64decode(blob)


def blob_of(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def last(found: failsoft.LastInvalidation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    age, at = (None if time is None else time * 1000 for time in (found.age, found.at))
    return {"age_ms": age, "at_ms": at, "id": found.id, "own": found.own, "record": found.record}


def failure(error: BaseException) -> dict[str, Any]:
    """An exception that is not ours is the callback's own."""
    code = CODES.get(type(error).__name__, "INTERNAL") if isinstance(error, failsoft.FailsoftError) else "FALLBACK"
    return {"error": {"code": code, "message": str(error)}}


def account(outcome: Any) -> dict[str, Any]:
    return {
        "value": blob_of(outcome.value),
        "served_by": outcome.served_by,
        "reason": outcome.reason,
        "age_ms": None if outcome.age is None else outcome.age * 1000,
        "attempts": outcome.attempts,
        "coalesced": outcome.coalesced,
        "node": outcome.node,
    }


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """`key_ms` is a duration, which Python has in seconds."""
    translated = {}
    for key, value in config.items():
        if key.endswith("_ms"):
            translated[key[: -len("_ms")]] = value / 1000
        else:
            translated[key] = value
    return translated


def seconds(request: dict[str, Any], key: str) -> float | None:
    value = request.get(key)
    return None if value is None else value / 1000


def options(request: dict[str, Any]) -> dict[str, Any]:
    named = {name: seconds(request, f"{name}_ms") for name in ("ttl", "deadline", "staleness_budget")}
    return {name: value for name, value in named.items() if value is not None}


def listed(keys: list[bytes], values: Any) -> list[Any]:
    """What a call for many keys gave, in the order of the keys."""
    return [values.get(key) for key in keys] if hasattr(values, "get") else list(values)


def outcomes(keys: list[bytes], results: Any) -> dict[str, Any]:
    told = [
        failure(result) if isinstance(result, BaseException) else {"ok": {"outcome": account(result)}}
        for result in listed(keys, results)
    ]
    return {"outcomes": told}


def immediate(behaviour: Any, key: bytes | list[bytes]) -> Any:
    """What a callback gives that neither waits nor asks."""
    many = isinstance(key, list)
    keys = key if isinstance(key, list) else [key]
    name, detail = spread(behaviour)
    if name == "value":
        loaded = {k: bytes_of(detail) for k in keys}
    elif name == "echo":
        loaded = {k: b"loaded:" + k for k in keys}
    elif name == "mapping":
        loaded = {bytes_of(k): bytes_of(v) for k, v in detail}
    elif name == "missing":
        loaded = {}
    elif name == "wrong_type":
        return 42
    elif name in ("error", "panic"):
        raise RuntimeError(detail)
    else:
        raise AssertionError(f"an unknown behaviour: {name}")
    return loaded if many else loaded.get(keys[0])


def spread(behaviour: dict[str, Any]) -> tuple[str, Any]:
    [(name, detail)] = behaviour.items()
    return name, detail


def started(router: str, key: bytes | list[bytes], reason: str | None) -> None:
    keys = key if isinstance(key, list) else [key]
    say({"started": {"router": router, "keys": [blob_of(k) for k in keys], "reason": reason}})


def told(error: failsoft.FailsoftError) -> RuntimeError:
    """What a callback fails with when its own call fails."""
    return RuntimeError(f"{CODES.get(type(error).__name__, 'INTERNAL')}: {error}")


class Asyncio:
    """Each request is a task of one loop."""

    def __init__(self) -> None:
        self.routers: dict[str, Any] = {}
        self.holds: dict[str, list[asyncio.Event]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def fallback(self, router: str, behaviour: Any) -> Any:
        if behaviour is None:
            return None
        if "panic" in behaviour:

            def throws(key: Any, reason: Any = None) -> Any:
                started(router, key, reason)
                raise RuntimeError(behaviour["panic"])

            return throws

        async def load(key: Any, reason: Any = None) -> Any:
            started(router, key, reason)
            try:
                return await self.act(router, behaviour, key)
            except asyncio.CancelledError:
                say({"cancelled": {"router": router}})
                raise

        return load

    async def act(self, router: str, behaviour: Any, key: Any) -> Any:
        name, detail = spread(behaviour)
        if name == "never":
            await asyncio.Event().wait()
        if name == "hold":
            event = asyncio.Event()
            self.holds.setdefault(router, []).append(event)
            await event.wait()
            return await self.act(router, detail, key)
        if name == "slow":
            await asyncio.sleep(detail["ms"] / 1000)
            return await self.act(router, detail["then"], key)
        if name == "ask":
            inner = self.fallback(router, detail["fallback"])
            try:
                return await self.routers[router].get_with_fallback(bytes_of(detail["key"]), inner)
            except failsoft.FailsoftError as error:
                raise told(error) from error
        if name == "invalidate":
            try:
                await self.routers[router].invalidate(*map(bytes_of, detail["keys"]))
            except failsoft.FailsoftError as error:
                raise told(error) from error
            return await self.act(router, detail["then"], key)
        return immediate(behaviour, key)

    async def perform(self, router: str, name: str, detail: Any) -> dict[str, Any]:
        if name == "open":
            self.routers[router] = failsoft.Router(detail["nodes"], **settings(detail["config"]))
            return {"done": {}}
        to = self.routers[router]
        fallback = self.fallback(router, detail.get("fallback"))
        if name in ("get", "resolve"):
            named = {"recompute": self.fallback(router, detail.get("recompute")), **options(detail)}
            if name == "get":
                return {"value": blob_of(await to.get_with_fallback(bytes_of(detail["key"]), fallback, **named))}
            return {"outcome": account(await to.resolve(bytes_of(detail["key"]), fallback, **named))}
        if name in ("get_many", "resolve_many"):
            keys = [bytes_of(key) for key in detail["keys"]]
            if name == "resolve_many":
                return outcomes(keys, await to.resolve_many(keys, fallback, **options(detail)))
            values = listed(keys, await to.get_many_with_fallback(keys, fallback, **options(detail)))
            return {"values": [blob_of(value) for value in values]}
        if name == "last_invalidation":
            return {"last": last(await to.last_invalidation(bytes_of(detail["key"])))}
        if name == "within_staleness_budget":
            max_age = detail["max_age_ms"] / 1000
            return {"said": await to.within_staleness_budget(bytes_of(detail["key"]), max_age=max_age)}
        if name == "health":
            return {"health": to.health()}
        if name == "release":
            for event in self.holds.pop(router, []):
                event.set()
        elif name == "set":
            await to.set(bytes_of(detail["key"]), bytes_of(detail["value"]), seconds(detail, "ttl_ms"))
        elif name == "invalidate":
            await to.invalidate(*map(bytes_of, detail["keys"]))
        elif name == "ready":
            await to.ready(detail["timeout_ms"] / 1000)
        elif name == "close":
            await to.close()
        return {"done": {}}

    async def answer(self, request: dict[str, Any]) -> None:
        name, detail = spread(request["op"])
        try:
            result: dict[str, Any] = {"ok": await self.perform(request["router"], name, detail)}
        except asyncio.CancelledError:
            result = {"error": {"code": "CANCELLED", "message": "cancelled"}}
        except Exception as error:
            result = failure(error)
        self.tasks.pop(request["id"], None)
        say({"reply": {"id": request["id"], "result": result}})

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            request = json.loads(line)
            name, detail = spread(request["op"])
            if name == "cancel":
                if task := self.tasks.get(detail["call"]):
                    task.cancel()
                say({"reply": {"id": request["id"], "result": {"ok": {"done": {}}}}})
            else:
                self.tasks[request["id"]] = loop.create_task(self.answer(request))


class Blocking:
    """Each request is a thread."""

    def __init__(self) -> None:
        self.routers: dict[str, Any] = {}
        # Counts the releases of each router.
        self.releases: dict[str, int] = {}
        self.released = threading.Condition()

    def fallback(self, router: str, behaviour: Any) -> Any:
        if behaviour is None:
            return None

        def load(key: Any, reason: Any = None) -> Any:
            # Before the runner hears of it: its `release` may come at once.
            before = self.releases.get(router, 0)
            started(router, key, reason)
            return self.act(router, behaviour, key, before)

        return load

    def act(self, router: str, behaviour: Any, key: Any, before: int) -> Any:
        name, detail = spread(behaviour)
        if name == "never":
            threading.Event().wait()
        if name == "hold":
            with self.released:
                self.released.wait_for(lambda: self.releases.get(router, 0) > before)
            return self.act(router, detail, key, before)
        if name == "slow":
            threading.Event().wait(detail["ms"] / 1000)
            return self.act(router, detail["then"], key, before)
        if name == "ask":
            inner = self.fallback(router, detail["fallback"])
            try:
                return self.routers[router].get_with_fallback(bytes_of(detail["key"]), inner)
            except failsoft.FailsoftError as error:
                raise told(error) from error
        if name == "invalidate":
            try:
                self.routers[router].invalidate(*map(bytes_of, detail["keys"]))
            except failsoft.FailsoftError as error:
                raise told(error) from error
            return self.act(router, detail["then"], key, before)
        return immediate(behaviour, key)

    def perform(self, router: str, name: str, detail: Any) -> dict[str, Any]:
        if name == "open":
            self.routers[router] = failsoft.blocking.Router(detail["nodes"], **settings(detail["config"]))
            return {"done": {}}
        to = self.routers[router]
        fallback = self.fallback(router, detail.get("fallback"))
        if name in ("get", "resolve"):
            named = {"recompute": self.fallback(router, detail.get("recompute")), **options(detail)}
            if name == "get":
                return {"value": blob_of(to.get_with_fallback(bytes_of(detail["key"]), fallback, **named))}
            return {"outcome": account(to.resolve(bytes_of(detail["key"]), fallback, **named))}
        if name in ("get_many", "resolve_many"):
            keys = [bytes_of(key) for key in detail["keys"]]
            if name == "resolve_many":
                return outcomes(keys, to.resolve_many(keys, fallback, **options(detail)))
            values = listed(keys, to.get_many_with_fallback(keys, fallback, **options(detail)))
            return {"values": [blob_of(value) for value in values]}
        if name == "last_invalidation":
            return {"last": last(to.last_invalidation(bytes_of(detail["key"])))}
        if name == "within_staleness_budget":
            max_age = detail["max_age_ms"] / 1000
            return {"said": to.within_staleness_budget(bytes_of(detail["key"]), max_age=max_age)}
        if name == "health":
            return {"health": to.health()}
        if name == "release":
            with self.released:
                self.releases[router] = self.releases.get(router, 0) + 1
                self.released.notify_all()
        elif name == "set":
            to.set(bytes_of(detail["key"]), bytes_of(detail["value"]), seconds(detail, "ttl_ms"))
        elif name == "invalidate":
            to.invalidate(*map(bytes_of, detail["keys"]))
        elif name == "ready":
            to.ready(detail["timeout_ms"] / 1000)
        elif name == "close":
            to.close()
        return {"done": {}}

    def answer(self, request: dict[str, Any]) -> None:
        name, detail = spread(request["op"])
        try:
            result: dict[str, Any] = {"ok": self.perform(request["router"], name, detail)}
        except Exception as error:
            result = failure(error)
        say({"reply": {"id": request["id"], "result": result}})

    def run(self) -> None:
        threading.stack_size(STACK)
        for line in sys.stdin:
            request = json.loads(line)
            # In the order in which they came; the others may take their time.
            if "open" in request["op"]:
                self.answer(request)
            else:
                threading.Thread(target=self.answer, args=(request,), daemon=True).start()


def main() -> None:
    mode = sys.argv[1] if len(sys.argv) == 2 else ""
    if mode not in CANNOT:
        sys.exit("usage: driver.py asyncio|blocking")
    binding = {"asyncio": "python", "blocking": "python-blocking"}[mode]
    say({"hello": {"binding": binding, "protocol": PROTOCOL, "cannot": CANNOT[mode]}})
    if mode == "asyncio":
        asyncio.run(Asyncio().run())
    else:
        Blocking().run()


if __name__ == "__main__":
    main()
