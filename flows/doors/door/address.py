"""Where this home's door listens: the door leaves word in a file, so that its port is the same at the next start."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

ADDRESS_FILE = Path("door") / "address"
COMING_UP_SECONDS = 60.0


def door_url(home: Path) -> str:
    """The address on which this home's door was last started; empty when none ever was."""
    try:
        return (home / ADDRESS_FILE).read_text().strip()
    except OSError:
        return ""


def leave_word(home: Path, host: str, port: int) -> str:
    """Write down, and return, the address under which a door that listens there is reached from this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not listened on
    url = f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
    file = home / ADDRESS_FILE
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(".address")
    draft.write_text(url)
    draft.replace(file)
    return url


def wait_for_door(home: Path, running: Callable[[], bool], stop: Sequence[int]) -> bool:
    """Whether the door answers, at the latest after a minute; earlier when it ended or somebody wants to stop."""
    deadline = time.monotonic() + COMING_UP_SECONDS
    while time.monotonic() < deadline and running() and not stop:
        try:
            with urllib.request.urlopen(f"{door_url(home)}/health", timeout=2):  # noqa: S310 - our own address
                return True
        except (OSError, ValueError, urllib.error.URLError):
            time.sleep(0.05)
    return False
