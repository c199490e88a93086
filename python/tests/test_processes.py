"""Forked children, and interpreters that end with reads in flight: never a hang, never noise."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import selectors
import signal
import subprocess
import sys
import textwrap
import time
import traceback
from collections.abc import Callable
from typing import Any

import failsoft
import pytest
from conftest import LONG, run
from failsoft import Router, blocking
from testkit import Scripted


def child(addresses: list[str], inherited: Any, results: Any) -> None:
    """What a child sees: its parent's routers are refused, new ones work."""
    try:
        inherited.get_with_fallback("fork:a")
        results.put("not refused")
    except failsoft.Forked:
        pass
    try:
        inherited.invalidate("fork:a")
        results.put("not refused")
    except failsoft.Forked:
        pass
    with blocking.Router(addresses, attempt_timeout=4.0, deadline=16.0) as router:
        results.put(router.get_with_fallback("fork:b", lambda key: key + " in the child"))

    async def main() -> None:
        async with Router(addresses, attempt_timeout=4.0, deadline=16.0) as router:
            results.put(await router.get_with_fallback("fork:c", lambda key: key + " in the child"))

    asyncio.run(main())
    del inherited


def test_multiprocessing_by_fork(cluster: list[str], patient: dict[str, Any]) -> None:
    context = multiprocessing.get_context("fork")
    with blocking.Router(cluster, **patient) as router:
        router.set("fork:a", "a")
        results = context.Queue()
        processes = [context.Process(target=child, args=(cluster, router, results)) for _ in range(3)]
        for process in processes:
            process.start()
        seen = sorted(results.get(timeout=30) for _ in range(6))
        assert seen == [b"fork:b in the child"] * 3 + [b"fork:c in the child"] * 3
        for process in processes:
            process.join(30)
            assert process.exitcode == 0
        assert router.get_with_fallback("fork:a") == b"a"


def test_a_fork_inside_a_running_loop(cluster: list[str], patient: dict[str, Any]) -> None:
    async def main() -> None:
        async with Router(cluster, **patient) as router:
            await router.set("fork:loop", "a")
            under_way = router.get_with_fallback("fork:loop")
            pid = os.fork()
            if pid == 0:
                try:
                    router.get_with_fallback("fork:loop")
                except failsoft.Forked:
                    os._exit(7)
                os._exit(1)
            assert await under_way == b"a"
            assert ends(pid) == 7

    run(main())


def ends(pid: int) -> int:
    """How a child ends; one that hangs is killed."""
    deadline = time.monotonic() + LONG
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(ended[1])


def in_a_child(check: Callable[[], None]) -> None:
    """Ends this process, which was forked from the tests'."""
    try:
        check()
        os._exit(7)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def test_a_fork_inside_a_callback() -> None:
    parents = os.getpid()
    children: list[int] = []

    def forks(key: str) -> bytes:
        children.append(os.fork())
        if key == "fork:exits" and children[-1] == 0:
            sys.exit()
        return b"v"

    with blocking.Router(["127.0.0.1:1"], deadline=0.05) as router:
        for key, told in (("fork:inside", failsoft.Forked), ("fork:exits", SystemExit)):
            try:
                assert router.get_with_fallback(key, forks) == b"v"
                assert os.getpid() == parents
            except BaseException as error:
                if os.getpid() == parents:
                    raise
                os._exit(7 if type(error) is told else 1)
    assert [ends(child) for child in children] == [7, 7]


def test_a_fork_inside_a_callback_on_a_loop() -> None:
    parents = os.getpid()
    children: list[int] = []

    def forks(_: str) -> bytes:
        children.append(os.fork())
        return b"v"

    async def never(_: str) -> bytes:
        await asyncio.sleep(1000)
        return b""

    async def main() -> None:
        async with Router(["127.0.0.1:1"], deadline=0.05) as router:
            other = router.get_with_fallback("fork:other", never)
            try:
                assert await router.get_with_fallback("fork:inside", forks) == b"v"
                assert os.getpid() == parents
            except failsoft.Forked:
                # The loop goes on, and nobody on it waits for ever.
                with pytest.raises(failsoft.Forked):
                    await other
                os._exit(7)
            other.cancel()

    try:
        run(main())
    finally:
        if os.getpid() != parents:
            os._exit(1)
    assert [ends(child) for child in children] == [7]


def test_a_child_that_goes_on_with_the_loop_wakes_only_itself() -> None:
    # With epoll, the kernel's part of the loop would be shared as well.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())

    async def reads() -> None:
        async with Router(["127.0.0.1:1"], deadline=0.05) as router:
            for i in range(500):
                assert await router.get_with_fallback(f"fork:{i}", lambda _: b"v") == b"v"

    async def bounded() -> None:
        await asyncio.wait_for(reads(), LONG / 2)

    loop.run_until_complete(bounded())
    pid = os.fork()
    if pid == 0:
        in_a_child(lambda: loop.run_until_complete(bounded()))
    loop.run_until_complete(bounded())
    loop.close()
    assert ends(pid) == 7


PROGRAMS = {
    "an interpreter that ends without closing": """
        import asyncio
        from failsoft import Router

        async def main():
            router = Router([ADDRESS])
            reads = [router.get_with_fallback(f"exit:{i}") for i in range(100)]
            await asyncio.sleep(0.05)

        asyncio.run(main())
    """,
    "a callback under way": """
        import asyncio
        from failsoft import Router

        async def main():
            router = Router([ADDRESS])
            async def load(key):
                started.set()
                await asyncio.sleep(1000)
            started = asyncio.Event()
            asyncio.ensure_future(router.get_with_fallback("exit", load, deadline=100))
            await started.wait()

        asyncio.run(main())
    """,
    "daemon threads that wait": """
        import threading, time
        from failsoft import blocking

        router = blocking.Router([ADDRESS])
        for i in range(4):
            threading.Thread(target=router.get_with_fallback, args=(f"exit:{i}",), daemon=True).start()
        time.sleep(0.1)
    """,
    "daemon threads that are told something": """
        import threading, time
        from failsoft import blocking

        router = blocking.Router(["127.0.0.1:1"], deadline=0.05)

        def read_on():
            while True:
                router.get_with_fallback(str(time.monotonic()), lambda key: b"v")

        for _ in range(4):
            threading.Thread(target=read_on, daemon=True).start()
        time.sleep(0.3)
    """,
    "a router that is never used": """
        from failsoft import Router
        router = Router([ADDRESS])
    """,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_interpreter_ends_quietly(program: str, scripted: Scripted) -> None:
    scripted.behave("GET", "silent")
    source = f"ADDRESS = {scripted.address!r}\n" + textwrap.dedent(PROGRAMS[program])
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=LONG)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


#: Where a daemon thread is, in Python code that the extension has called, when the interpreter ends.
INSIDE = {
    "a callback": 'blocking.Router([ADDRESS], deadline=0.05).get_with_fallback("exit", stay)',
    "a callback on a loop": "asyncio.run(on_a_loop())",
    "the keys": "blocking.Router([ADDRESS]).resolve_many(map(stay, [1]), dict)",
    "a mapping": 'blocking.Router([ADDRESS], deadline=0.05).resolve_many(["exit"], lambda _: Mapped())',
    "a filter of messages": "read_on()",
    "the end of an item": 'blocking.Router([ADDRESS], deadline=0.05).resolve_many(["exit"], lambda _: Unpaired())',
    "the end of a generator": "blocking.Router([ADDRESS]).resolve_many((Ends(key) for key in 'ab'), dict)",
    "a number": 'blocking.Router([ADDRESS]).get_with_fallback("exit", ttl=Number())',
    "a sequence": "blocking.Router([ADDRESS], address_map=Sequence())",
    "an exception": 'blocking.Router([ADDRESS], deadline=0.05).get_with_fallback("exit", raises)',
    "an exception's text": 'blocking.Router([ADDRESS], deadline=0.05).resolve_many(["exit"], lambda _: Failing())',
    "an outcome's value": "failsoft.Outcome(Value(), 'none') == failsoft.Outcome(1, 'none')",
}
STAY = """
import asyncio, collections, logging, threading, time
import failsoft
from failsoft import Router, blocking

ADDRESS = "127.0.0.1:1"
inside = threading.Event()

def stay(*_):
    inside.set()
    while True:
        time.sleep(0.001)

async def on_a_loop():
    async with Router([ADDRESS], deadline=0.05) as router:
        await router.get_with_fallback("exit", stay)

class Mapped(collections.UserDict):
    def items(self):
        stay(self)

class Ends(str):
    __del__ = stay

class Unpaired(collections.UserDict):
    def items(self):
        return [Ends()]

class Number:
    __float__ = stay

class Sequence(collections.UserList):
    __iter__ = stay

class Error(Exception):
    with_traceback = stay

class Telling(Exception):
    __str__ = stay

def raises(_):
    raise Error

class Failing(collections.UserDict):
    def items(self):
        raise Telling

class Value:
    def __eq__(self, other):
        stay(self)

def read_on():
    logging.getLogger("failsoft").addFilter(stay)
    router = blocking.Router([NODE])
    while True:
        router.get_with_fallback(f"exit:{time.monotonic()}", lambda _: b"v")
"""


@pytest.mark.parametrize("place", INSIDE)
def test_the_interpreter_ends_while_a_daemon_thread_is_inside(place: str, scripted: Scripted) -> None:
    # Values that are not written back are told.
    scripted.behave("FILL", "error")
    start = f"threading.Thread(target=lambda: {INSIDE[place]}, daemon=True).start()"
    command = [sys.executable, "-c", f"NODE = {scripted.address!r}{STAY}\n{start}\ninside.wait()"]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(4)]
    try:
        for program in programs:
            assert (program.communicate(timeout=LONG)[0], program.returncode) == (b"", 0)
    finally:
        for program in programs:
            program.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
@pytest.mark.parametrize("limit", ["NPROC", "NOFILE"])
def test_a_system_that_refuses_threads_or_descriptors_is_named(limit: str) -> None:
    # The number of processes does not bind root.
    source = f"""
import asyncio, os, resource, failsoft._messages
from failsoft import InternalError, Router, blocking
asyncio.new_event_loop()
limit = 1 if "{limit}" == "NPROC" else max(map(int, os.listdir("/proc/self/fd")))
hard = resource.getrlimit(resource.RLIMIT_{limit})[1]
resource.setrlimit(resource.RLIMIT_{limit}, (limit, hard))
if os.getuid() == 0:
    os.setuid(65534)
for kind in (Router, blocking.Router, Router):
    try:
        kind("127.0.0.1:1")
    except InternalError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_{limit}, (hard, hard))
blocking.Router("127.0.0.1:1").close()
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=LONG)
    assert (ended.returncode, ended.stderr) == (0, "")
    lacks = "thread" if limit == "NPROC" else "descriptor"
    assert len(ended.stdout.splitlines()) == 3
    assert all(line.startswith(f"the system has no {lacks} for failsoft: ") for line in ended.stdout.splitlines())


def test_ctrl_c_ends_a_blocking_read(scripted: Scripted) -> None:
    scripted.behave("GET", "silent")
    source = f"""
from failsoft import blocking
router = blocking.Router([{scripted.address!r}], attempt_timeout=60, deadline=60)
router.ready(10)
try:
    print("waiting", flush=True)
    router.get_with_fallback("k")
except KeyboardInterrupt:
    print("interrupted")
"""
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "waiting\n"
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.stdout.read().startswith("interrupted")
