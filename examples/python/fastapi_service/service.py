"""A service with a cache in front of its database: it answers as long as the database does.

pip install failsoft fastapi uvicorn
FAILSOFT_NODES=127.0.0.1:7000 uvicorn service:app
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from failsoft import Router
from fastapi import FastAPI, HTTPException, Response

DATABASE = os.environ.get("DATABASE", "users.sqlite3")
NODES = os.environ.get("FAILSOFT_NODES", "127.0.0.1:7000").split(",")


def prepare_database() -> None:
    """Makes a table of users, once."""
    with sqlite3.connect(DATABASE) as database:
        database.execute("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        rows = ((i, f"user {i}") for i in range(1000))
        database.executemany("INSERT OR IGNORE INTO users VALUES (?, ?)", rows)


def select_user(user_id: int) -> str | None:
    database = sqlite3.connect(DATABASE)
    try:
        row = database.execute("SELECT name FROM users WHERE id = ?", (user_id,)).fetchone()
    finally:
        database.close()
    return None if row is None else str(row[0])


async def load_user(key: str) -> str | None:
    """What the cache is in front of; a thread waits for it, not the loop."""
    return await asyncio.to_thread(select_user, int(key.removeprefix("user:")))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One router for each process, made in it: a worker that is forked gets its own."""
    prepare_database()
    async with Router(NODES, decode_responses=True) as router:
        app.state.router = router
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/users/{user_id}")
async def user(user_id: int, response: Response) -> dict[str, str]:
    """A user, from the cache or the database; headers tell which, and why."""
    outcome = await app.state.router.resolve(f"user:{user_id}", load_user)
    response.headers["x-served-by"] = outcome.served_by
    response.headers["x-reason"] = outcome.reason or ""
    if outcome.value is None:
        raise HTTPException(404, "no such user")
    return {"name": outcome.value}


@app.get("/health")
async def health() -> dict[str, object]:
    """What the router knows."""
    known: dict[str, object] = app.state.router.health()
    return known
