"""CPU of the client process for each read, beside other asyncio clients: one run, each client in a process of its own.

    python bench/python/cpu.py [--rounds 5] [--node HOST:PORT]

Without --node it starts a cluster of its own with the test kit. Compare only within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

KEYS = 1000
VALUE = b"x" * 100
#: Reads of one round, for each number in flight.
READS = {1: 3_000, 64: 40_000}

Read = Callable[[str], Awaitable[Any]]


async def failsoft(address: str) -> tuple[Read, Callable[[], Awaitable[Any]]]:
    from failsoft import Router

    router = Router([address])
    await router.ready(10)

    async def load(_key: str) -> bytes:
        return VALUE

    return (lambda key: router.get_with_fallback(key, load)), router.close


async def redis_py(address: str) -> tuple[Read, Callable[[], Awaitable[Any]]]:
    from redis.asyncio.cluster import RedisCluster

    host, port = address.rsplit(":", 1)
    client: Any = RedisCluster(host=host, port=int(port))
    await client.initialize()
    return client.get, client.aclose


async def valkey_glide(address: str) -> tuple[Read, Callable[[], Awaitable[Any]]]:
    import glide

    host, port = address.rsplit(":", 1)
    config = glide.GlideClusterClientConfiguration([glide.NodeAddress(host, int(port))])
    client = await glide.GlideClusterClient.create(config)
    return client.get, client.close


CLIENTS = {"failsoft": failsoft, "redis-py": redis_py, "valkey-glide": valkey_glide}


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(client: str, address: str, rounds: int) -> dict[str, list[float]]:
    """Microseconds of CPU for each read, round by round."""
    read, close = await CLIENTS[client](address)

    async def reader(first: int, reads: int) -> None:
        for i in range(first, first + reads):
            if await read(f"key:{i % KEYS}") is None:
                raise RuntimeError(f"{client}: a key is missing")

    results: dict[str, list[float]] = {}
    for in_flight, reads in READS.items():
        for _ in range(rounds + 1):
            began = cpu()
            await asyncio.gather(*(reader(i * 31, reads // in_flight) for i in range(in_flight)))
            results.setdefault(str(in_flight), []).append((cpu() - began) * 1e6 / (reads // in_flight * in_flight))
    await close()
    # The first round warms up.
    return {in_flight: values[1:] for in_flight, values in results.items()}


async def fill(address: str) -> None:
    from failsoft import Router

    async with Router([address], attempt_timeout=4.0, deadline=16.0) as router:
        await router.ready(30)
        while router.health()["slots_ok"] < 16384:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for i in range(KEYS):
            await router.set(f"key:{i}", VALUE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--node")
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        print(json.dumps(asyncio.run(measure(arguments.client, arguments.node, arguments.rounds))))
        return
    kit = None
    if (address := arguments.node) is None:
        sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python/tests"))
        from testkit import Kit

        kit = Kit()
        address = kit.cluster(3, 0)[0]
    asyncio.run(fill(address))
    medians: dict[str, dict[str, float]] = {}
    for client in CLIENTS:
        program = [sys.executable, __file__, "--client", client, "--node", address, "--rounds", str(arguments.rounds)]
        ended = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
        rounds = json.loads(ended.stdout.splitlines()[-1])
        medians[client] = {in_flight: statistics.median(values) for in_flight, values in rounds.items()}
    print(time.strftime("CPU of the client process for each read, microseconds, medians; %Y-%m-%d"))
    print(f"{'in flight':14}" + "".join(f"{in_flight:>10}" for in_flight in READS))
    for client, values in medians.items():
        print(f"{client:14}" + "".join(f"{values[str(in_flight)]:10.1f}" for in_flight in READS))
    print(f"{'of the better':14}" + "".join(f"{ratio(medians, str(in_flight)):10.2f}" for in_flight in READS))
    if kit is not None:
        kit.close()


def ratio(medians: dict[str, dict[str, float]], in_flight: str) -> float:
    """Failsoft's share of what the better of the others needs."""
    return medians["failsoft"][in_flight] / min(v[in_flight] for c, v in medians.items() if c != "failsoft")


if __name__ == "__main__":
    main()
