"""What the browser's tests stand on: the installation behind the pages, and where pictures of them go."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyotp
from playwright.sync_api import Page

from examples.support_agent.world import World
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.installation import Installation


def until(seen: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for the thing itself, with a limit."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


@dataclass
class Ground:
    """The practice installation, its far side, and where its pages are."""

    home: Path
    world: World
    installation: Installation
    url: str
    credential: str
    used: dict[str, str] = field(default_factory=dict)

    def entries(self, incident: str, *types: EntryType) -> list[LedgerEntry]:
        return self.installation.store.entries(incident, types=types)

    def wait_for(self, incident: str, kind: EntryType, count: int = 1, seconds: float = 120) -> LedgerEntry:
        """The newest entry of this kind, once the ledger holds so many."""
        until(lambda: len(self.entries(incident, kind)) >= count, f"{count} {kind} of {incident}", seconds)
        return self.entries(incident, kind)[-1]

    def code(self, person: str) -> str:
        """What this person's authenticator shows; never one that was typed before."""
        totp = pyotp.TOTP((self.home / "people" / f"{person}.code").read_text())
        until(lambda: totp.now() != self.used.get(person), f"a new code of {person}", 35)
        self.used[person] = totp.now()
        return self.used[person]

    def wrong_code(self, person: str) -> str:
        """Six digits that are no code of this person near now."""
        totp = pyotp.TOTP((self.home / "people" / f"{person}.code").read_text())
        near = {totp.at(int(time.time()) + 30 * step) for step in range(-3, 4)}
        return next(code for code in ("123456", "654321", "111111", "222222") if code not in near)

    def refund_tool_is_on(self) -> bool:
        """From the far side's own flag file."""
        flags = json.loads(self.world.describe.flags_path.read_text())["flags"]
        return str(flags[self.world.describe.flag_keys["issue_refund"]]["defaultVariant"]) == "on"


class Shots:
    """Numbered pictures of what a person sees, step by step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken = 0
        folder.mkdir(parents=True, exist_ok=True)
        print(f"\nscreenshots: {folder}")

    def take(self, page: Page, name: str, *, whole: bool = False) -> None:
        """`whole` keeps what one would have to scroll to, too."""
        self.taken += 1
        page.screenshot(path=self.folder / f"{self.taken:02}-{name}.png", full_page=whole, animations="disabled")
