"""Changes something in your own store: its keys are held meanwhile, so that nothing older is read afterwards.

python writing.py 127.0.0.1:7000
"""

import asyncio
import sys

from failsoft import InvalidationIncomplete, Router

users = {"user:44": b"Ada"}


async def load_user(key: str) -> bytes | None:
    """Your own store: what the cache is in front of."""
    return users.get(key)


async def rename(router: Router, key: str, name: bytes) -> None:
    try:
        async with router.writing(key):
            # The transaction; the setting `hold` is the time that it has.
            users[key] = name
    except InvalidationIncomplete as error:
        # Before the transaction, which has not begun then; or after it, and then the invalidation goes on by itself.
        print("not everywhere yet:", error)


async def main(nodes: list[str]) -> None:
    async with Router(nodes, hold=5) as router:
        before = await router.get_with_fallback("user:44", load_user)
        await rename(router, "user:44", b"Grace")
        print(before, "is now", await router.get_with_fallback("user:44", load_user))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["127.0.0.1:7000"]))
