"""Secrets, configuration and disk that cannot be read: told, at the expense of nobody else, and looked at again."""

import asyncio
import logging
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from flows.doors.door import reception as receptions
from flows.doors.door.reception import Reception
from runbooks.domain.errors import UnreachableError
from tasks.settings import resolve_secret
from tests.steps.doorstep import SOURCES, WORDS, a_reception, bearer, furnish, hub, keep_secret, visiting

RANDOM = bytes(range(150, 182))
"""As `openssl rand 32` makes it."""
JSON = {"content-type": "application/json"}
TWO = SOURCES.partition("[sources.detector]")[0]  # github, and alerts with an old and a new word


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return furnish(tmp_path / "home", TWO)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    monkeypatch.setattr(receptions, "LOOK_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "quell.door")
    yield
    assert not [word for word in (*WORDS.values(), repr(RANDOM)[2:-1], "0x96") if word in caplog.text]


@asynccontextmanager
async def looked_after(reception: Reception) -> AsyncIterator[httpx.AsyncClient]:
    """A client at a door that looks at itself."""
    looking = asyncio.create_task(reception.look_again())
    async with visiting(reception) as client:
        yield client
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking


async def until(answers: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 5
    while not await answers():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def send(client: httpx.AsyncClient, source: str, headers: dict[str, str]) -> tuple[int, str]:
    answer = await client.post(f"/signals/{source}", content=b"{}", headers={**JSON, **headers})
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)
    return answer.status_code, str(answer.json().get("because"))


async def problems(client: httpx.AsyncClient) -> list[str]:
    answer = (await client.get("/ready")).json()
    return list(answer["problems"])


def test_one_secret_that_is_no_text_costs_nobody_else_anything(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def visit(reception: Reception) -> None:
        async with looked_after(reception) as client:
            assert await problems(client) == []
            (home / "secrets" / "new").write_bytes(RANDOM)
            await until(lambda: seen(client, ["secret"]))
            assert await send(client, "alerts", bearer("new")) == (503, "secret")
            assert await send(client, "alerts", bearer("old")) == (200, "None")
            keep_secret(home, "github", "another-w0rd")
            await until(lambda: is_answered(client, "github", hub(b"{}"), 401))  # a rotation is seen all the same
            assert "secret: the secret new of the source alerts cannot be used" in caplog.text
            keep_secret(home, "new", WORDS["new"])
            await until(lambda: seen(client, []))
            assert await send(client, "alerts", bearer("new")) == (200, "None")

    with a_reception(home) as reception:
        asyncio.run(visit(reception))


async def seen(client: httpx.AsyncClient, wanted: list[str]) -> bool:
    return await problems(client) == wanted


async def is_answered(client: httpx.AsyncClient, source: str, headers: dict[str, str], status: int) -> bool:
    return (await send(client, source, headers))[0] == status


def test_a_door_starts_with_a_secret_that_is_no_text_and_says_so(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (home / "secrets" / "new").write_bytes(RANDOM)

    async def visit(reception: Reception) -> None:
        async with looked_after(reception) as client:
            assert await problems(client) == ["secret"]
            assert await send(client, "github", hub(b"{}")) == (200, "None")
            await until(lambda: is_logged(caplog, "the secret new of the source alerts cannot be used"))

    with a_reception(home) as reception:
        asyncio.run(visit(reception))


async def is_logged(caplog: pytest.LogCaptureFixture, sentence: str) -> bool:
    return sentence in caplog.text


def test_whatever_a_look_trips_over_the_next_one_comes(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def trip(installation: object) -> None:
        raise RuntimeError(f"{WORDS['github']} of {installation}")

    async def visit(reception: Reception) -> None:
        async with looked_after(reception) as client:
            with monkeypatch.context() as broken:
                broken.setattr(receptions, "admit", trip)
                await until(lambda: seen(client, ["look"]))
                assert await send(client, "github", hub(b"{}")) == (200, "None"), "what was known holds"
                assert await send(client, "nobody", {}) == (503, "configuration"), "it may have been activated since"
                await until(lambda: is_logged(caplog, "look: could not look: RuntimeError in test_door_secrets.py"))
            await until(lambda: seen(client, []))
            assert await send(client, "nobody", {}) == (404, "unknown source")

    with a_reception(home) as reception:
        asyncio.run(visit(reception))
    monkeypatch.setattr(receptions, "admit", trip)
    with a_reception(home) as reception:  # one that starts now knows nobody, and sends nobody away for good
        asyncio.run(begun(reception))


def test_a_look_that_does_not_come_back_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where secrets lie on a share that is away: here a pipe that nobody writes to."""
    monkeypatch.setattr(receptions, "LONGEST_LOOK_SECONDS", 0.2)

    async def visit(reception: Reception) -> None:
        async with looked_after(reception) as client:
            secret = home / "secrets" / "github"
            words = secret.read_bytes()
            secret.unlink()
            os.mkfifo(secret)
            try:
                await until(lambda: seen(client, ["look"]))
                await until(lambda: is_logged(caplog, "look: a look takes longer than"))
            finally:
                aside = secret.rename(home / "aside")
                secret.write_bytes(words)
                with suppress(OSError):  # nobody reads it
                    os.close(os.open(aside, os.O_WRONLY | os.O_NONBLOCK))  # which lets that look go on
            await until(lambda: seen(client, []))

    with a_reception(home) as reception:
        asyncio.run(visit(reception))


async def begun(reception: Reception) -> None:
    async with visiting(reception) as client:
        assert await send(client, "github", hub(b"{}")) == (503, "configuration")
        assert (await client.get("/report")).status_code == 503


def test_a_disk_that_does_not_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: object) -> None:
        raise OSError(5, "Input/output error", str(path))

    async def visit(reception: Reception) -> None:
        async with looked_after(reception) as client:
            with monkeypatch.context() as broken:
                broken.setattr(os, "statvfs", fail)
                await until(lambda: seen(client, ["disk"]))
                keep_secret(home, "github", "another-w0rd")
                await until(lambda: is_answered(client, "github", hub(b"{}"), 401))
                await until(lambda: is_logged(caplog, "how much of the disk is free: Input/output error"))
            await until(lambda: seen(client, []))

    with a_reception(home) as reception:
        asyncio.run(visit(reception))


@pytest.mark.parametrize("reference", ["file:secrets/new", "env:NEW", "file:secrets/a\0b"])
def test_a_secret_that_is_no_text_is_told_without_it(home: Path, reference: str) -> None:
    (home / "secrets" / "new").write_bytes(RANDOM)
    with pytest.raises(UnreachableError, match=r"cannot be read: (it is not UTF-8 text|the path is none)\.") as told:
        resolve_secret(reference, home, {"NEW": os.fsdecode(RANDOM)})
    assert (told.value.__cause__, told.value.__context__) == (None, None)
    assert "0x96" not in "".join(traceback.format_exception(told.value))
