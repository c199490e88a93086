"""The examples, run as a reader would: the service under load while its cluster is killed, also preforked."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
import subprocess
import sys
from collections import Counter
from typing import Any

import httpx
import pytest
from conftest import LONG, eventually, run
from testkit import ROOT, Kit

EXAMPLES = ROOT / "examples/python"


def test_first_read(cluster: list[str]) -> None:
    program = [sys.executable, str(EXAMPLES / "first_read.py"), *cluster]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=LONG, check=True)
    assert ended.stdout.startswith("b'Ada' b'Ada' ")


def test_set_and_health(cluster: list[str]) -> None:
    program = [sys.executable, str(EXAMPLES / "set_and_health.py"), *cluster]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=LONG, check=True)
    value, *nodes, last = ended.stdout.splitlines()
    assert (value, last) == ("b'Grace'", "16384 slots are served, 1 values were set"), ended.stdout
    assert sorted(nodes) == sorted(f"{address} primary closed None" for address in cluster)


def test_writing(cluster: list[str]) -> None:
    program = [sys.executable, str(EXAMPLES / "writing.py"), *cluster]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=LONG, check=True)
    assert ended.stdout == "b'Ada' is now b'Grace'\n"


def test_the_program_of_the_readme_reads_through_a_failing_cluster(breakable: Kit) -> None:
    blocks = (ROOT / "README.md").read_text().split("```python\n")[1:]
    assert len(blocks) == 1
    program = blocks[0].split("```")[0].replace("127.0.0.1:7000", breakable.addresses[1])
    for broken in (None, "kill", "kill_all"):
        if broken is not None:
            breakable.ask(broken, node=0)
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG)
        assert ended.returncode == 0 and ended.stdout.startswith("b'Ada' b'Ada' "), (broken, ended)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


SERVERS = {
    "uvicorn": ["-m", "uvicorn", "service:app", "--log-level", "warning", "--port", "{port}"],
    "gunicorn, preforked": [
        *("-m", "gunicorn", "service:app", "--preload", "--workers", "2", "--log-level", "warning"),
        *("--worker-class", "uvicorn_worker.UvicornWorker", "--bind", "127.0.0.1:{port}"),
    ],
}


@pytest.mark.parametrize("server", SERVERS)
def test_the_service_survives_its_cluster(server: str, breakable: Kit, tmp_path: pathlib.Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "FAILSOFT_NODES": ",".join(breakable.addresses),
        "DATABASE": str(tmp_path / "users.sqlite3"),
    }
    arguments = [argument.format(port=port) for argument in SERVERS[server]]
    process = subprocess.Popen([sys.executable, *arguments], cwd=EXAMPLES / "fastapi_service", env=environment)
    try:
        run(clients(f"http://127.0.0.1:{port}", breakable))
    finally:
        process.terminate()
        process.wait(LONG)


async def clients(address: str, kit: Kit) -> None:
    failed: list[Any] = []
    served: Counter[str] = Counter()
    stop = asyncio.Event()

    async def client(http: httpx.AsyncClient, at: int) -> None:
        while not stop.is_set():
            at = (at + 7) % 1000
            response = await http.get(f"{address}/users/{at}")
            if response.status_code != 200 or response.json() != {"name": f"user {at}"}:
                failed.append(response)
            served[response.headers.get("x-served-by", "error")] += 1

    async with httpx.AsyncClient(timeout=LONG, trust_env=False) as http:

        async def up() -> bool:
            try:
                return bool((await http.get(f"{address}/health")).json()["slots_ok"] == 16384)
            except httpx.TransportError:
                return False

        while not await up():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert (await http.get(f"{address}/users/5000")).status_code == 404
        workers = [asyncio.create_task(client(http, i)) for i in range(8)]
        await eventually("hits", lambda: served["primary"] > 100)
        kit.ask("kill", node=0)
        await eventually("replica", lambda: served["replica"] > 10)
        await asyncio.to_thread(kit.ask, "kill_all")
        before = served["secondary"]
        await eventually("database", lambda: served["secondary"] > before + 100)
        stop.set()
        await asyncio.gather(*workers)
    assert not failed, f"{len(failed)} of {sum(served.values())} requests failed, such as {failed[0]!r}"
