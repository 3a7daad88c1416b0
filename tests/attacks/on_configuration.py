"""Attacks on who may decide: files edited without activation, keys removed and added while a request is open."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runbooks.domain.approval import Standing
from runbooks.domain.errors import ConfigurationError
from tasks.approval import plan_of, verdict_on
from tasks.ledger import INSTALLATION
from tests.attacks.ground import Ground
from tests.attacks.on_acts import _perform
from tests.attacks.table import attack


@contextmanager
def _edited(file: Path, old: str, new: str) -> Iterator[None]:
    text = file.read_text()
    assert old in text, old
    file.write_text(text.replace(old, new))
    try:
        yield
    finally:
        file.write_text(text)


def _activate(g: Ground) -> None:
    g.installation.activate(g.installation.proposed(), INSTALLATION, {"proof": "a test"})


@attack("Edit people.toml without activation: a new commander", "no effect: refused as unlisted")
def people_edited(g: Ground) -> str:
    key = g.key("emil").with_suffix(".key.pub").read_text().strip()
    new = f'[people.mallory]\nname = "M"\nroles = ["incident-commander", "security"]\nssh_keys = ["{key}"]\n\n[people.ben]'
    with _edited(g.home / "config" / "people.toml", "[people.ben]", new):
        said = g.say(g.request(g.waiting), "mallory")
        return g.refused(lambda: g.submit(said, key="emil"), g.waiting)


@attack("Edit policy.toml without activation: one person of any role is enough", "no effect")
def policy_edited(g: Ground) -> str:
    incident = g.declare()
    with _edited(g.home / "config" / "policy.toml", '"on-call", "security"]', '"on-call", "security", "assistant"]'):
        g.submit(g.say(g.request(incident), "ana"))
        verdict = verdict_on(g.installation, g.request(incident))
        assert verdict.standing is Standing.WAITING
        return _perform(g, plan_of(g.installation, incident).action("refund-tool"))


@attack("Add a commander and activate while a request is open", "additions never count for it")
def added(g: Ground) -> str:
    incident = g.declare()
    request = g.request(incident)
    with _edited(
        g.home / "config" / "people.toml", 'roles = ["assistant"]\ndeputy_for = "cleo"', 'roles = ["security"]'
    ):
        _activate(g)
        g.submit(g.say(request, "emil"))
        reason = g.does_not_count(request, "emil")
    _activate(g)
    return reason


@attack("Remove a key between request and decision", "refused")
def removed_before(g: Ground) -> str:
    incident = g.declare()
    with _edited(
        g.home / "config" / "people.toml", g.key("ben").with_suffix(".key.pub").read_text().strip(), _another(g)
    ):
        _activate(g)
        reason = g.refused(lambda: g.submit(g.say(g.request(incident), "ben")), incident)
    _activate(g)
    return re.sub("SHA256:[^ ,;.]*", "…", reason)


@attack("Remove a key between decision and act", "the act is refused, on record")
def removed_after(g: Ground) -> str:
    incident = g.declare()
    for person in ("ana", "ben"):
        g.submit(g.say(g.request(incident), person))
    with _edited(
        g.home / "config" / "people.toml", g.key("ben").with_suffix(".key.pub").read_text().strip(), _another(g)
    ):
        _activate(g)
        reason = _perform(g, plan_of(g.installation, incident).action("refund-tool"))
    # Whoever denies now makes sure that nobody's run acts on it when the key is listed again.
    from runbooks.domain.approval import Answer

    g.submit(g.say(g.request(incident), "cleo", Answer.DENY))
    _activate(g)
    return reason


@attack("Let a person's time end between request and decision", "recorded, does not count")
def expired_person(g: Ground) -> str:
    incident = g.declare()
    ended = 'name = "Ben (practice)"\nvalid_until = "2020-01-01T00:00:00.000000000Z"'
    with _edited(g.home / "config" / "people.toml", 'name = "Ben (practice)"', ended):
        _activate(g)
        g.submit(g.say(g.request(incident), "ben"))
        reason = g.does_not_count(g.request(incident), "ben")
    _activate(g)
    return re.sub(r"at \d{4}.*", "then", reason)


@attack("Activate a policy in which a right for one system loosens the general one", "refused, both lines named")
def loosened(g: Ground) -> str:
    first = "# Giving an ability back"
    loose = '[[rights]]\nsystems = ["support-agent"]\nroles = ["assistant"]\npeople = 1\n\n' + first
    with _edited(g.home / "config" / "policy.toml", first, loose):
        before = g.installation.active_digest()
        try:
            _activate(g)
        except ConfigurationError as error:
            assert g.installation.active_digest() == before
            return error.problem
    raise AssertionError("it was activated")


def _another(g: Ground) -> str:
    return g.key("spare").with_suffix(".key.pub").read_text().strip()
