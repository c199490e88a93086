"""Handlers of signals that raise while completions are handed out: nothing is lost, neither theirs nor ours."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import LONG
from failsoft import Router, blocking

DOWN = ["127.0.0.1:1"]


class Stop(Exception):
    pass


class Interrupting(asyncio.SelectorEventLoop):
    """Raises inside `call_soon`, before or after it did its work, as a handler of a signal does."""

    def __init__(self, kind: type[BaseException], after: bool) -> None:
        super().__init__()
        self.kind, self.after, self.armed, self.raised = kind, after, 0, 0

    def call_soon(self, callback: Callable[..., Any], *arguments: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        interrupts = self.armed > 0 and "drain" in {frame.function for frame in _frames()}
        if interrupts and not self.after:
            self.armed -= 1
            self.raised += 1
            raise self.kind
        handle = super().call_soon(callback, *arguments, context=context)
        if interrupts:
            self.armed -= 1
            self.raised += 1
            raise self.kind
        return handle


class _Frame:
    def __init__(self, function: str) -> None:
        self.function = function


def _frames() -> list[_Frame]:
    """The drain is in Rust and has no frame: who calls from `run`, `reschedule` or the loop itself comes from it."""
    frame: Any = sys._getframe(2)
    names = {"run": "drain", "reschedule": "drain", "_run": "drain"}
    return [_Frame(names.get(frame.f_code.co_name, "other"))]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, Stop])
def test_an_exception_inside_the_drain_is_told_and_loses_nothing(kind: type[BaseException], after: bool) -> None:
    loop = Interrupting(kind, after)
    seen: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))

    async def load(key: str) -> str:
        await asyncio.sleep(0)
        return key

    async def main() -> None:
        async with Router(DOWN, deadline=0.1, load_timeout=3000.0) as router:
            for number in range(20):
                loop.armed = 1
                keys = [f"{number}:{i}" for i in range(20)]
                reads = [router.get_with_fallback(key, load if i % 2 else str) for i, key in enumerate(keys)]
                values = await asyncio.gather(*reads)
                assert values == [key.encode() for key in keys]

    task = loop.create_task(main())
    escaped = 0
    while not task.done():
        try:
            loop.run_until_complete(asyncio.wait_for(asyncio.shield(task), LONG))
        except kind:
            escaped += 1
    task.result()
    assert loop.raised >= 10 and escaped + len(seen) == loop.raised
    loop.close()


def test_a_program_that_takes_its_signals_by_waiting_lives() -> None:
    program = """
import os, signal, threading
from failsoft import blocking
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
router = blocking.Router(["127.0.0.1:1"], deadline=0.05)
assert router.get_with_fallback("k", lambda key: b"v") == b"v"
for number in (signal.SIGUSR1, signal.SIGTERM):
    os.kill(os.getpid(), number)
    assert signal.sigwait({signal.SIGTERM, signal.SIGUSR1}) == number
print("lives")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG)
    assert (ended.returncode, ended.stdout) == (0, "lives\n"), ended


def test_every_thread_of_the_library_blocks_every_signal() -> None:
    own = {thread.native_id for thread in threading.enumerate()}
    with blocking.Router(DOWN, deadline=0.05) as router:
        router.get_with_fallback("k", lambda _: b"v")
        for task in set(map(int, os.listdir("/proc/self/task"))) - own:
            with open(f"/proc/self/task/{task}/status") as status:
                fields = dict(line.split(":", 1) for line in status)
            if fields["Name"].strip().startswith("failsoft"):
                blocked = int(fields["SigBlk"], 16)
                assert blocked & (1 << (signal.SIGTERM - 1)) and blocked & (1 << (signal.SIGUSR1 - 1)), fields
