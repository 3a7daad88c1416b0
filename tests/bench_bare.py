"""The limit of the machine for the door's bench: Starlette and an HMAC, and, with a file named, a group commit.

`python -m tests.bench_bare PORT [DATABASE]`. As little as can be said to do the work: one secret, one header, no size
cap, no push-back, no counts, no second look at anything.
"""

import asyncio
import base64
import hmac
import sqlite3
import sys
import threading
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KEY = bytes(range(32))


class GroupCommit:
    """One thread; all that came during one commit shares the next. synchronous=FULL, as the door has it."""

    def __init__(self, file: Path) -> None:
        self.base = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self.base.execute("PRAGMA journal_mode = WAL")
        self.base.execute("PRAGMA synchronous = FULL")
        self.base.execute("CREATE TABLE delivery (seq INTEGER PRIMARY KEY, at INTEGER, body BLOB)")
        self.waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self.changed = threading.Condition()
        self.loop = asyncio.get_running_loop()
        threading.Thread(target=self._write, daemon=True).start()

    async def put(self, body: bytes) -> None:
        ticket = self.loop.create_future()
        with self.changed:
            self.waiting.append((body, ticket))
            self.changed.notify()
        await ticket

    def _write(self) -> None:
        while True:
            with self.changed:
                while not self.waiting:
                    self.changed.wait()
                batch, self.waiting = self.waiting, []
            self.base.execute("BEGIN IMMEDIATE")
            rows = [(time.time_ns(), body) for body, _ in batch]
            self.base.executemany("INSERT INTO delivery (at, body) VALUES (?, ?)", rows)
            self.base.execute("COMMIT")
            self.loop.call_soon_threadsafe(self._tell, [ticket for _, ticket in batch])

    @staticmethod
    def _tell(tickets: list[asyncio.Future[None]]) -> None:
        for ticket in tickets:
            if not ticket.done():
                ticket.set_result(None)


def main(port: int, file: str = "") -> None:
    """Listen."""
    store: list[GroupCommit] = []

    async def take(request: Request) -> Response:
        body, headers = await request.body(), request.headers
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(KEY, text, "sha256")).decode()
        if not hmac.compare_digest(f"v1,{expected}", headers["webhook-signature"]):
            return JSONResponse({"status": "refused"}, 401)
        if file:
            if not store:
                store.append(GroupCommit(Path(file)))
            await store[0].put(body)
        return JSONResponse({"status": "accepted"})

    app = Starlette(routes=[Route("/signals/{source}", take, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="error", lifespan="off", ws="none")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
