"""One practice installation that is up, and the distribution's Chromium, for all tests of this folder."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from flows.doors import practice
from flows.doors.drill import commands
from flows.doors.engine_server import engine_credential
from flows.doors.up import start_in_background, stop
from tasks.installation import open_installation
from tests.browser.ground import Ground, Shots

UP_SECONDS = 240
LIMIT_SECONDS = 120  # for one step of one person on a busy machine
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--disable-3d-apis",  # without a graphics card, drawing the graph of a run takes all there is of a processor
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


@pytest.fixture(scope="module")  # gone before the next file: two Prefect servers at once make both slow
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """`quell up` in a practice home, with its practice agent. Stopped afterwards, whatever happened."""
    home = tmp_path_factory.mktemp("browser") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUELL_HOME", str(home))
        with practice.prepare(home, seed=7) as world:
            try:
                installation = open_installation(home)
                installation.activate_if_fresh()
                status = start_in_background(home, UP_SECONDS, commands=commands())
                yield Ground(home, world, installation, status.ui_url, engine_credential(home))
            finally:
                stop(home)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "this test needs the distribution's Chromium: `.ci/need chromium`, or `apt-get install chromium`"
    with sync_playwright() as playwright:
        expect.set_options(timeout=LIMIT_SECONDS * 1000)
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def outside_requests() -> list[str]:
    """Addresses beyond this machine that a page asked for. None of them is let through."""
    return []


@pytest.fixture
def new_person(chromium: Browser, outside_requests: list[str]) -> Iterator[Callable[[], Page]]:
    """A browser of their own for each person: nothing is remembered, nobody is signed in."""
    contexts = []

    def note(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            outside_requests.append(request.url.split("?")[0])

    def open_one() -> Page:
        context = chromium.new_context(viewport={"width": 1280, "height": 1000})
        contexts.append(context)
        context.set_default_timeout(LIMIT_SECONDS * 1000)
        page = context.new_page()
        page.on("request", note)
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def shots(tmp_path: Path) -> Shots:
    """Where the screenshots go: the folder that `QUELL_SCREENSHOTS` names, or the test's own."""
    return Shots(Path(os.environ.get("QUELL_SCREENSHOTS") or tmp_path / "screenshots"))
