"""The test kit's clusters and scripted nodes, driven over a pipe."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("FAILSOFT_TESTKIT") or str(ROOT / "target/debug/examples/testkit")


class Kit:
    """One process of the test kit: at most one cluster, any number of scripted nodes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addresses: list[str] = []

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{do}: {answer['error']}")
        return answer

    def cluster(self, primaries: int, replicas: int) -> list[str]:
        self.addresses = self.ask("cluster", primaries=primaries, replicas=replicas)["addresses"]
        return self.addresses

    def scripted(self) -> Scripted:
        return Scripted(self, **self.ask("scripted"))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class Scripted:
    """A scripted node that owns every slot."""

    def __init__(self, kit: Kit, node: int, address: str) -> None:
        self._kit, self._node, self.address = kit, node, address

    def behave(self, command: str, how: str | None) -> None:
        self._kit.ask("behave", node=self._node, command=command, how=how)

    def calls(self, command: str) -> int:
        calls: int = self._kit.ask("calls", node=self._node, command=command)["calls"]
        return calls
