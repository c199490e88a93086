"""What the package says of itself, and whether its long description is true."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from typing import Any

from conftest import LONG
from failsoft import __version__, blocking


def metadata() -> importlib.metadata.PackageMetadata:
    return importlib.metadata.metadata("failsoft")


def test_the_metadata_is_whole() -> None:
    said = metadata()
    assert said["Version"] == __version__ == importlib.metadata.version("failsoft")
    assert said["Author"] == "Failsoft contributors"
    assert said["Requires-Python"] == ">=3.10" and said["License-Expression"] == "Apache-2.0 OR MIT"
    assert {"redis", "valkey", "asyncio"} <= set(said["Keywords"].split(","))
    classifiers = said.get_all("Classifier") or []
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)} <= set(classifiers)
    assert "Typing :: Typed" in classifiers
    assert said["Description-Content-Type"].startswith("text/markdown")


def test_the_command_comes_with_it(cluster: list[str], patient: dict[str, Any]) -> None:
    with blocking.Router(cluster, fill=False, **patient) as router:
        for key in ("command:a", "command:b"):
            router.set(key, "v")
        command = [sys.executable, "-m", "failsoft", "invalidate", "command:a", "-", "--json", "--node", cluster[0]]
        ended = subprocess.run(command, input=b"command:b\n", capture_output=True, timeout=LONG)
        assert ended.returncode == 0, ended
        told = json.loads(ended.stdout)
        assert (told["invalidated"], told["incomplete"]) == (2, 0)
        assert router.get_many_with_fallback(["command:a", "command:b"], dict.fromkeys) == [None, None]


def description() -> str:
    said = metadata()
    return said["Description"] or str(said.json["description"])


def test_the_description_is_for_those_who_install_it() -> None:
    text = description()
    assert "pip install failsoft" in text and "make demo" not in text and "make test" not in text
    # A relative link leads nowhere on a package index.
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert all(link.startswith("https://") for link in links), links


def test_the_programs_of_the_description_run(cluster: list[str]) -> None:
    programs = re.findall(r"```python\n(.*?)```", description(), re.S)
    assert len(programs) == 2
    for program, output in zip(programs, ["b'Ada'\n", "b'Ada' "], strict=True):
        source = program.replace("127.0.0.1:7000", cluster[0])
        ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=LONG)
        assert ended.returncode == 0 and ended.stdout.startswith(output), ended
