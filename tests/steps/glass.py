"""Breaking the glass on the practice installation, and the clock moved on."""

import pytest

from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from runbooks.domain.replay import Outcome, Replay
from tasks.proofs import listed_fingerprints
from tests.steps.desk import Desk, Ran

GLASS = """
[[break_glass]]
roles = ["on-call"]
verbs = ["disable_tool"]
systems = ["helper"]
max_minutes = 30
"""


def policy_plus(desk: Desk, more: str) -> None:
    desk.write("policy.toml", (desk.home / "config" / "policy.toml").read_text() + more)


def smash(desk: Desk, incident: str, person: str = "ben", action: str = "refund-tool", minutes: str = "1") -> Ran:
    return desk(
        "break-glass", incident, "--action", action, "--as", person, "--key", str(desk.keys[person]), "--minutes",
        minutes, "--reason", "nobody answers", "--json",
    )  # fmt: skip


def status(desk: Desk) -> str:
    return str(desk.world["targets"]["refunds"]["status"])


def written(desk: Desk, incident: str, kind: EntryType) -> list[dict[str, object]]:
    return [entry.body for entry in desk.installation.store.entries(incident, types=(kind,))]


def at(monkeypatch: pytest.MonkeyPatch, desk: Desk, minutes: int) -> None:
    """Let the clock be so many minutes later, in every process of ours: here. What is written then is written then."""
    then = later(desk.installation.now(), 60 * minutes)
    for module in ("tasks.installation", "tasks.ledger", "tasks.telling"):
        monkeypatch.setattr(f"{module}.clock", lambda: then)


def late(monkeypatch: pytest.MonkeyPatch, desk: Desk, minutes: int) -> None:
    """The same, and what is written then says so."""
    at(monkeypatch, desk, minutes)
    then = desk.installation.now()
    monkeypatch.setattr("tasks.ledger.clock", lambda: then)


def judged_again(desk: Desk, incident: str) -> list[str]:
    """What replay finds to differ in what was decided and done."""
    store, vault = desk.installation.store, desk.installation.vault
    house = store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))
    steps = Replay(store.entries(incident), house, vault.get, listed_fingerprints).steps()
    return [f"{one.type}: {one.differences}" for one in steps if one.outcome is Outcome.DIFFERS]
