"""Tell people through their own channels (mail, chat, pager): Apprise, its addresses read from secret references at use.

Only quell's own words and identifiers go out (law 8). What was told, and what could not be, is on record; whoever has
to decide finds it in `quell inbox` all the same.
"""

import logging
import warnings
from collections.abc import Sequence

import apprise

from runbooks.domain.errors import QuellError
from runbooks.domain.instants import milliseconds_between
from runbooks.domain.ledger import EntryType
from tasks.installation import Installation
from tasks.ledger import Pen, clock
from tasks.links import response_link
from tasks.settings import resolve_secret

MOST_TRIES = 8
BETWEEN_TRIES_SECONDS = 30
"""After the first try; then twice as long each time, so that a channel which is away for an hour is reached all the same."""

logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would print addresses, which hold secrets


def tell_people(
    installation: Installation, writer: Pen, key: str, *, incident: str | None, channels: Sequence[str] | None, title: str,
    text: str,
) -> list[str]:  # fmt: skip
    """Tell each channel once (None: every one of the policy); returns the names of those that were told, now or before.

    At least once: a crash between sending and writing sends again. A channel that fails is tried again by the next
    caller with the same key, some time later, a few times over about an hour.
    """
    addresses = installation.active().policy.channels
    told = []
    for name in addresses if channels is None else channels:
        mark = f"told/{key}/{name}"
        if writer.find(mark) is None:
            problem = _due(installation, mark) and _send(
                installation, addresses.get(name, ""), title, _with_link(installation, incident, text)
            )
            if problem is None:
                continue
            if problem:
                _failed(installation, writer, mark, incident, name, problem)
                continue
            writer.write(
                EntryType.PEOPLE_TOLD, mark, incident=incident, body={"channel": name, "because": title},
            )  # fmt: skip
        told.append(name)
    return told


def _with_link(installation: Installation, incident: str | None, text: str) -> str:
    """The text, and the page of the incident's run, once there is one."""
    link = response_link(installation, incident) if incident else ""
    return f"{text}\nIts run: {link}" if link else text


def _tries(installation: Installation, mark: str) -> list[str]:
    found = [installation.store.find(f"{mark}/failed/{n}") for n in range(MOST_TRIES)]
    return [entry.at for entry in found if entry is not None]


def _due(installation: Installation, mark: str) -> bool | None:
    tries = _tries(installation, mark)
    if len(tries) >= MOST_TRIES:
        return None
    pause = BETWEEN_TRIES_SECONDS * 2 ** (len(tries) - 1) if tries else 0
    return None if tries and milliseconds_between(tries[-1], clock()) < 1000 * pause else True


def _send(installation: Installation, reference: str, title: str, text: str) -> str:
    """Empty when it went out, else why not, without the address."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Apprise's own plugins, when they are loaded
            teller = apprise.Apprise()
            if not reference or not teller.add(resolve_secret(reference, installation.settings.home)):
                return "the channel's address is none that Apprise knows"
            return "" if teller.notify(title=title, body=text) else "the channel did not take it"
    except QuellError as error:
        return error.problem
    except (OSError, ValueError, TypeError) as error:
        return type(error).__name__


def _failed(installation: Installation, writer: Pen, mark: str, incident: str | None, name: str, problem: str) -> None:
    number = len(_tries(installation, mark))
    writer.write(
        EntryType.TELLING_FAILED, f"{mark}/failed/{number}", incident=incident,
        body={"channel": name, "because": problem, "tries": number + 1},
    )  # fmt: skip
