"""Waits for the cluster, writes a value, and looks at what the router knows.

python set_and_health.py 127.0.0.1:7000
"""

import asyncio
import sys

from failsoft import Router, Unavailable, WriteRefused


async def main(nodes: list[str]) -> None:
    async with Router(nodes) as router:
        try:
            await router.ready(5)
        except Unavailable as error:
            # Reads with a fallback work all the same, and the router goes on trying.
            print("no view of the cluster yet:", error.reason)
        try:
            await router.set("user:43", "Grace", ttl=300)
        except WriteRefused as error:
            # After `timeout` or `connection` nobody can say whether it was written.
            print("not written:", error.cause)
        print(await router.get_with_fallback("user:43"))
        health = router.health()
        for node in health["nodes"]:
            print(node["address"], node["role"], node["breaker"], node["trouble"])
        print(health["slots_ok"], "slots are served,", health["counters"]["sets"], "values were set")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["127.0.0.1:7000"]))
