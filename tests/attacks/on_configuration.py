"""Attacks on who may decide: files edited without activation, keys removed and added while a request is open."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runbooks.domain.approval import Answer, Standing
from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import ContainmentAction
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from runbooks.domain.planning import make_plan
from runbooks.domain.runbook import Runbook
from runbooks.loader import load_runbook
from tasks.approval import plan_of, verdict_on
from tasks.ledger import INSTALLATION, clock
from tests.attacks.ground import Ground, until
from tests.attacks.on_acts import _perform
from tests.attacks.table import ALONE, attack

BEN = 'name = "Ben (practice)"'


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


@attack(
    "Edit people.toml without activation: a new commander", "no effect: refused as unlisted", EntryType.DECISION_REFUSED
)
def people_edited(g: Ground) -> str:
    key = g.key("emil").with_suffix(".key.pub").read_text().strip()
    new = f'[people.mallory]\nname = "M"\nroles = ["incident-commander", "security"]\nssh_keys = ["{key}"]\n\n[people.ben]'
    with _edited(g.home / "config" / "people.toml", "[people.ben]", new):
        said = g.say(g.request(g.waiting), "mallory")
        return g.refused(lambda: g.submit(said, key="emil"), g.waiting)


@attack("Edit policy.toml without activation: one person of any role is enough", "no effect", EntryType.EFFECT_REFUSED)
def policy_edited(g: Ground) -> str:
    incident = g.declare()
    with _edited(g.home / "config" / "policy.toml", '"on-call", "security"]', '"on-call", "security", "assistant"]'):
        g.submit(g.say(g.request(incident), "ana"))
        verdict = verdict_on(g.installation, g.request(incident))
        assert verdict.standing is Standing.WAITING
        return _perform(g, plan_of(g.installation, incident).action("refund-tool"))


@attack(
    "Add a commander and activate while a request is open", "additions never count for it", EntryType.DECISION_RECORDED
)
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


@attack("Remove a key between request and decision", "refused", EntryType.DECISION_REFUSED)
def removed_before(g: Ground) -> str:
    incident = g.declare()
    with _edited(
        g.home / "config" / "people.toml", g.key("ben").with_suffix(".key.pub").read_text().strip(), _another(g)
    ):
        _activate(g)
        reason = g.refused(lambda: g.submit(g.say(g.request(incident), "ben")), incident)
    _activate(g)
    return re.sub("SHA256:[^ ,;.]*", "…", reason)


@attack("Remove a key between decision and act", "the act is refused, on record", EntryType.EFFECT_REFUSED)
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
    g.submit(g.say(g.request(incident), "cleo", Answer.DENY))
    _activate(g)
    return reason


@attack("Let a person's time end between request and decision", "recorded, does not count", EntryType.DECISION_RECORDED)
def expired_person(g: Ground) -> str:
    incident = g.declare()
    ended = f'{BEN}\nvalid_until = "2020-01-01T00:00:00.000000000Z"'
    with _edited(g.home / "config" / "people.toml", BEN, ended):
        _activate(g)
        g.submit(g.say(g.request(incident), "ben"))
        reason = g.does_not_count(g.request(incident), "ben")
    _activate(g)
    return re.sub(r"at \d{4}.*", "then", reason)


@attack(
    "Activate a policy in which a right for one system loosens the general one",
    "refused, both lines named",
    EntryType.ACTIVATION_REFUSED,
)
def loosened(g: Ground) -> str:
    first = "# Giving an ability back"
    loose = '[[rights]]\nsystems = ["support-agent"]\nroles = ["assistant"]\npeople = 1\n\n' + first
    with _edited(g.home / "config" / "policy.toml", first, loose):
        said, on_record = g.activation_refused()
    assert "[[rights]] no. 1, roles" in said, "the line that loosens"
    assert re.search(r"as \[\[rights\]\] no\. [2-4], roles, of policy\.toml says", said), "the general line"
    assert "[[rights]] no. 1, roles" in on_record
    return said


@attack(
    "Give one person two names: the same secret of one-time codes for both",
    "refused, on record",
    EntryType.ACTIVATION_REFUSED,
)
def two_names(g: Ground) -> str:
    with _edited(g.home / "config" / "people.toml", "file:people/cleo.code", "file:people/../people/ben.code"):
        said, _ = g.activation_refused()
    assert "one secret must mean one person" in said
    return said


@attack("Let a person's time end between decision and act", "the act is refused, on record", EntryType.EFFECT_REFUSED)
def expired_after(g: Ground) -> str:
    """Ben approves in time; by the time that enough people have, his own is over."""
    incident = g.declare()
    ends = later(g.installation.now(), 10)
    with _edited(g.home / "config" / "people.toml", BEN, f'{BEN}\nvalid_until = "{ends}"'):
        _activate(g)
        g.submit(g.say(g.request(incident), "ben"))
        assert verdict_on(g.installation, g.request(incident)).approvers == ("ben",)
        until(lambda: clock() > ends, "his time is over", 40)
        g.submit(g.say(g.request(incident), "ana"))
        assert verdict_on(g.installation, g.request(incident)).approvers == ("ana",)
        reason = _perform(g, plan_of(g.installation, incident).action("refund-tool"))
        # Whoever denies now makes sure that nobody's run acts on it when ben's time is as before.
        g.submit(g.say(g.request(incident), "cleo", Answer.DENY))
    _activate(g)
    return reason


@attack(
    "Act on consent that the active policy no longer takes as enough: more people, a role less, no right",
    "the act is refused, on record",
    EntryType.EFFECT_REFUSED,
    lane=ALONE,
)
def tightened(g: Ground) -> str:
    mild = 'reversibilities = ["R0", "R1"]\nroles = ["incident-commander", "on-call", "security"]\npeople = 1'
    seen = []
    for change in (
        mild.replace("people = 1", "people = 2"), mild.replace('"on-call", ', ""), mild.replace('"R0", "R1"', '"R0"'),
    ):  # fmt: skip
        incident = g.declare()
        for person in ("ana", "ben"):
            g.submit(g.say(g.request(incident), person))
        with _edited(g.home / "config" / "policy.toml", mild, change):
            _activate(g)
            seen.append(_perform(g, plan_of(g.installation, incident).action("refund-tool")))
            g.submit(g.say(g.request(incident), "cleo", Answer.DENY))
        _activate(g)
        assert verdict_on(g.installation, g.request(incident)).standing is Standing.DENIED
    return "; ".join(seen)


@attack(
    "Change a parameter of an approved act in systems.toml and in the runbook, without and with activation",
    "refused, on record: what was approved is no control any more, what is one was not approved",
    EntryType.EFFECT_REFUSED,
    lane=ALONE,
)
def changed_in_the_files(g: Ground) -> str:
    place, seen = g.installation, []
    incident, other = g.declare(), g.declare()
    approved, half = (plan_of(place, one).action("refund-tool") for one in (incident, other))
    book = place.runbook(Archetype.PROMPT_INJECTION, place.active())
    target = (g.home / "config" / "systems.toml", f'"{approved.target}"', '"tool.lookup_order.enabled"')

    def as_planned_from(files: Configuration, pages: Runbook, one: str) -> ContainmentAction:
        plan = make_plan(place.incident(one), pages, files, manifest=plan_of(place, one).manifest, at=None)
        return plan.action("refund-tool")

    for person in ("ana", "ben"):
        g.submit(g.say(g.request(incident), person))
    with _edited(*target):
        _activate(g)
        seen.append(f"active, the act as approved: {_perform(g, approved)}")
        assert "no control of support-agent in the active inventory" in seen[0]
        seen.append(f"active, as the files say: {_perform(g, as_planned_from(place.active(), book, incident))}")
        # Whoever denies now makes sure that nobody's run acts on it when the inventory is as before.
        g.submit(g.say(g.request(incident), "cleo", Answer.DENY))
    _activate(g)
    g.submit(g.say(g.request(other), "ana"))
    with _edited(*target):
        changed = as_planned_from(place.proposed(), book, other)
        assert changed.target != half.target
        seen.append(f"systems.toml only: {_perform(g, changed)}")
    with _runbook_edited(g, half.why, "Somebody wrote another reason.") as pages:
        worded = as_planned_from(place.active(), pages, other)
        assert worded.why != half.why
        seen.append(f"the runbook only: {_perform(g, worded)}")
        files = place.active()
        runbooks = {**files.runbooks, Archetype.PROMPT_INJECTION: pages.digest()}
        place.activate(files.model_copy(update={"runbooks": runbooks}), INSTALLATION, {"proof": "a test"})
        seen.append(f"the runbook, active: {_perform(g, worded)}")
        assert plan_of(place, other).action("refund-tool") == half, "a plan that people look at is not made anew"
    _activate(g)
    assert all("a parameter was changed" in one for one in seen[1:])
    return "; ".join(re.sub("sha256:[0-9a-f]+", "…", one) for one in seen)


@contextmanager
def _runbook_edited(g: Ground, old: str, new: str) -> Iterator[Runbook]:
    """The page as somebody changed it on the disk, beside the book that everybody else reads."""
    text = (g.installation.settings.book / "prompt_injection.yaml").read_text()
    assert old in text
    (book := g.home / "book").mkdir()
    (book / "prompt_injection.yaml").write_text(text.replace(old, new))
    pages = load_runbook(Archetype.PROMPT_INJECTION, book)
    g.installation.keep(pages)
    yield pages


def _another(g: Ground) -> str:
    return g.key("spare").with_suffix(".key.pub").read_text().strip()
