"""The first read: from the cluster if it has the key, else from your own store.

python first_read.py 127.0.0.1:7000
"""

import asyncio
import sys

from failsoft import Router


async def load_user(key: str) -> bytes | None:
    """Your own store: what the cache is in front of."""
    return {"user:42": b"Ada"}.get(key)


async def main(nodes: list[str]) -> None:
    async with Router(nodes) as router:
        user = await router.get_with_fallback("user:42", load_user)
        outcome = await router.resolve("user:42", load_user, ttl=60)
        print(user, outcome.value, outcome.served_by, outcome.reason)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["127.0.0.1:7000"]))
