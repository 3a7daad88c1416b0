"""Rights that a replay judges again: waivers, broken glasses, and whether what a claim rests on was in time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbooks.domain.instants import later
from runbooks.domain.ledger import Actor, ActorKind, EntryType
from runbooks.domain.value import digest_of
from tasks.approval import plan_of
from tasks.break_glass import end_overdue
from tasks.containment import contain, plan_again
from tasks.evidence import seal_evidence
from tasks.installation import Installation
from tasks.ledger import INSTALLATION, KEEPER
from tests.contracts.bundle.ground import _Quiet
from tests.steps.desk import Desk, a_desk
from tests.steps.glass import GLASS, at, policy_plus, smash
from tests.steps.intake_ground import a_configuration
from tests.steps.test_preauthorised_in_time import planned as begun_by_a_signal
from tests.steps.test_replay_judgements import _Forger
from tests.steps.test_waiver_rights import planned, waived

HOUR = 3600
DAY = 24 * HOUR


class Forger(_Forger):
    """The same, with times, actors and objects of any entry changed."""

    def __init__(self, installation: Installation, incident: str) -> None:
        super().__init__(installation, incident)
        self.place = installation

    def change(self, kind: EntryType, which: int = 0, **more: Any) -> None:
        """Fields of one entry of a type."""
        places = [n for n, entry in enumerate(self.entries) if entry.type is kind]
        self.entries[places[which]] = self.entries[places[which]].model_copy(update=more)

    def moved(self, kind: EntryType, seconds: int, which: int = 0) -> None:
        """One entry of a type, and all after it, are as much later (or earlier)."""
        start = [n for n, entry in enumerate(self.entries) if entry.type is kind][which]
        self.entries[start:] = [e.model_copy(update={"at": later(e.at, seconds)}) for e in self.entries[start:]]

    def everywhere(self, **more: Any) -> None:
        """Change what the bodies say that say it."""
        for n, entry in enumerate(self.entries):
            known = {name: value for name, value in more.items() if name in entry.body}
            self.entries[n] = entry.model_copy(update={"body": {**entry.body, **known}})

    def again_last(self, kind: EntryType, seconds: int, fence: int | None = None, **subject: str) -> None:
        """The first entry of a type once more, at the end, so much later than anything."""
        last, first = self.entries[-1], self.one(kind)
        self.entries.append(
            first.model_copy(update={
                "index": last.index + 1, "at": later(last.at, seconds), "subject": {**first.subject, **subject},
                "body": first.body if fence is None else {**first.body, "fence": fence},
            })
        )  # fmt: skip

    def activated(self, before: EntryType, which: int = 0) -> None:
        """Another configuration, that lets nobody waive or act alone, was activated an hour before this entry of a type."""
        entry = [e for e in self.entries if e.type is before][which]
        other = a_configuration(self.place)
        none = other.policy.model_copy(update={"waiver_roles": (), "break_glass": ()})
        tighter = other.model_copy(update={"policy": none})
        data = tighter.canonical()
        self._more[digest_of(data)] = data
        newest = self.house[-1]
        self.house.append(
            newest.model_copy(update={
                "index": entry.index - 1, "at": later(entry.at, -HOUR), "subject": {"configuration": digest_of(data)},
            })
        )  # fmt: skip


Told = tuple[Installation, str]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, people_keys: dict[str, Path]) -> Callable[[str], Told]:
    """Each kind of record is made once, when it is asked for."""
    known: dict[str, Told] = {}

    def made(kind: str) -> Told:
        if kind not in known:
            quiet = _Quiet()
            try:
                with a_desk(tmp_path_factory.mktemp(kind) / "home", people_keys, quiet) as desk:  # type: ignore[arg-type]
                    policy_plus(desk, GLASS)
                    known[kind] = desk.installation, MADE[kind](desk)
            finally:
                quiet.end()
        return known[kind]

    return made


def _under_a_waiver(desk: Desk) -> str:
    incident = desk.declare()
    waived(desk, incident, "ana")
    planned(desk, incident)
    assert contain.fn(incident, "refund-tool") == "effective"
    seal_evidence.fn(incident)
    return incident


def _alone(desk: Desk) -> str:
    incident = desk.declare()
    assert smash(desk, incident, minutes="30").code == 0
    with pytest.MonkeyPatch.context() as patch:
        at(patch, desk, 31)
        end_overdue(desk.installation, desk.installation.pen(KEEPER))
    return incident


def _with_a_request(desk: Desk) -> str:
    incident = desk.declare()
    seal_evidence.fn(incident)
    planned(desk, incident)
    assert contain.fn(incident, "refund-tool") == "effective"
    return incident


def _unasked(desk: Desk) -> str:
    place = desk.installation
    place.activate(a_configuration(place), INSTALLATION, {"proof": "a test's own configuration"})
    incident = begun_by_a_signal(place, 0)
    assert contain.fn(incident, "refund-tool") == "effective"
    with pytest.MonkeyPatch.context() as patch:
        at(patch, desk, 300)
        plan_again.fn(incident, ["refund-tool"])
        assert contain.fn(incident, "refund-tool-again") == "effective", "a new grant, and the old signal"
    return incident


MADE: dict[str, Callable[[Desk], str]] = {
    "waiver": _under_a_waiver, "alone": _alone, "request": _with_a_request, "unasked": _unasked,
}  # fmt: skip


def _who(name: str) -> Actor:
    return Actor(kind=ActorKind.PERSON, name=name)


def _by(forger: Forger, kind: EntryType, name: str, person: str) -> None:
    """This statement is another person's, and so is its entry."""
    forger.thing(kind, name, lambda v: v.update(person=person))
    forger.body(kind, person=person)
    forger.change(kind, actor=_who(person))


def _for_minutes(forger: Forger, minutes: int) -> None:
    forger.thing(EntryType.BREAK_GLASS_OPENED, "glass", lambda v: v.update(minutes=minutes))
    entry = forger.one(EntryType.BREAK_GLASS_OPENED)
    forger.body(EntryType.BREAK_GLASS_OPENED, ends_at=later(str(entry.body["opened_at"]), 60 * minutes))


def _ended_early(forger: Forger) -> None:
    forger.moved(EntryType.EFFECT_CLAIMED, -HOUR, 1)
    forger.body(EntryType.BREAK_GLASS_ENDED, tried_at="")


_WAIVED, _GLASS, _ENDED, _CLAIMED = (
    EntryType.EVIDENCE_WAIVED, EntryType.BREAK_GLASS_OPENED, EntryType.BREAK_GLASS_ENDED, EntryType.EFFECT_CLAIMED,
)  # fmt: skip
WRONG: dict[str, tuple[str, Callable[[Forger], None], EntryType, str]] = {
    "a waiver of somebody without the role": (
        "waiver", lambda f: _by(f, _WAIVED, "waiver", "ben"), _WAIVED, "ben may not waive: expected one of the roles",
    ),
    "a waiver of somebody who is not listed": (
        "waiver", lambda f: _by(f, _WAIVED, "waiver", "eve"), _WAIVED, "eve is not listed",
    ),
    "a waiver when nobody may waive any more": ("waiver", lambda f: f.activated(_WAIVED), _WAIVED, "(none is configured)"),
    "a waiver that another one signed": (
        "waiver", lambda f: f.change(_WAIVED, actor=_who("cleo")), _WAIVED, "who waived: recorded cleo, recomputed ana",
    ),
    "a waiver for another incident": (
        "waiver", lambda f: f.thing(_WAIVED, "waiver", lambda v: v.update(incident="INC-OTHER")), _WAIVED, "incident that was",
    ),
    "a waiver of what was sealed long before": (
        "waiver", lambda f: f.again_last(_WAIVED, HOUR), _WAIVED, "expected it before evidence sealed",
    ),
    "a glass broken by somebody whom no rule lets": (
        "alone", lambda f: _by(f, _GLASS, "glass", "cleo"), _GLASS, "lets nobody in the roles of cleo do",
    ),
    "a glass broken by somebody who is not listed": (
        "alone", lambda f: _by(f, _GLASS, "glass", "eve"), _GLASS, "eve is not listed",
    ),
    "a glass for longer than anybody may": (
        "alone", lambda f: _for_minutes(f, 31), _GLASS, "expected at most 30 minutes, found 31",
    ),
    "a glass that holds longer than was signed": (
        "alone", lambda f: f.body(_GLASS, ends_at=later(f.one(_GLASS).at, DAY)), _GLASS, "its end: recorded",
    ),
    "a glass that was broken tomorrow": (
        "alone", lambda f: f.body(_GLASS, opened_at=later(f.one(_GLASS).at, DAY)), _GLASS, "when it was broken",
    ),
    "a glass for another act": (
        "alone", lambda f: f.thing(_GLASS, "glass", lambda v: v.update(action="sha256:" + "0" * 64)), _GLASS,
        "signed an act of the plan, found another",
    ),
    "a glass that the active policy has no rule for": (
        "alone", lambda f: f.activated(_GLASS), _GLASS, "its configuration: recorded",
    ),
    "a glass that another one signed": (
        "alone", lambda f: f.change(_GLASS, actor=_who("ana")), _GLASS, "who broke the glass: recorded ana",
    ),
    "an end without a glass": ("alone", lambda f: f.without(_GLASS), _ENDED, "expected a glass that was broken"),
    "an end before its time": (
        "alone", _ended_early, _ENDED, "expected the glass to hold until",
    ),
    "given back, it says, and it was not": (
        "alone", lambda f: f.without(EntryType.EFFECT_UNDONE), _ENDED, "expected refund-tool given back before that is said",
    ),
    "acting alone after the glass had ended": (
        "alone", lambda f: f.moved(_CLAIMED, HOUR), _CLAIMED, "expected a claim while the glass holds",
    ),
    "acting alone when no rule lets them any more": (
        "alone", lambda f: f.activated(_CLAIMED), _CLAIMED, "lets nobody in the roles of ben",
    ),
    "giving back without consent while the glass holds": (
        "alone", lambda f: f.moved(_CLAIMED, -HOUR, 1), _CLAIMED, "expected it given back without consent only after",
    ),
    "giving back what nobody did alone": (
        "alone", lambda f: f.change(_CLAIMED, 1, subject={**f.entries[0].subject, "grant": "sha256:" + "0" * 64, "action": plan_of(
            f.place, str(f.entries[0].incident)).action("refund-tool").digest()}), _CLAIMED, "to give refund-tool back, found neither",
    ),
    "acting hours after the request expired": (
        "request", lambda f: f.moved(_CLAIMED, 5 * HOUR), _CLAIMED, "expected a claim before its request expired",
    ),
    "acting on the consent to something else": (
        "request", lambda f: f.thing(EntryType.EFFECT_CLAIMED, "request", lambda v: v.update(purpose="undo")), _CLAIMED,
        "whether its request is to give back",
    ),
    "acting on nothing at all": (
        "request", lambda f: f.change(_CLAIMED, subject={k: v for k, v in f.one(_CLAIMED).subject.items() if k != "request"}),
        _CLAIMED, "expected a request, a broken glass or a pre-authorisation for refund-tool, found none of them",
    ),
    "another effect than that of its act": (
        "request", lambda f: f.everywhere(effect="effect/" + "0" * 32), _CLAIMED, "effect: recorded effect/0000",
    ),
    "a pre-authorisation that was too old at the claim": (
        "unasked", lambda f: f.moved(_CLAIMED, 20 * 60), _CLAIMED, "needs a younger signal",
    ),
    "a pre-authorisation of a configuration that is active no more": (
        "unasked", lambda f: f.activated(_CLAIMED), _CLAIMED, "expected the configuration active that lets refund-tool begin",
    ),
    "taken away again by itself under another configuration": (
        "unasked", lambda f: f.activated(_CLAIMED, 1), _CLAIMED, "expected the configuration active that lets refund-tool-again",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_right_that_was_none_differs(record: Callable[[str], Told], name: str) -> None:
    made, change, kind, words = WRONG[name]
    forger = Forger(*record(made))
    assert not list(forger.differences())
    change(forger)
    found = list(forger.differences())
    assert any(type_ is kind and words in text for type_, text in found), found


@pytest.mark.parametrize(
    ("grant", "words"), [("", ""), ("sha256:" + "0" * 64, "expected a claim before its request expired")]
)
def test_what_began_in_time_is_finished_however_late_and_another_grant_begins_anew(
    record: Callable[[str], Told], grant: str, words: str
) -> None:
    forger = Forger(*record("request"))
    forger.again_last(_CLAIMED, DAY, fence=2, grant=grant or forger.one(_CLAIMED).subject["grant"])
    forger.again_last(EntryType.BEFORE_CAPTURED, 0, fence=2)
    found = [text for _, text in forger.differences()]
    assert [words in text for text in found] == ([True] if words else [])


def test_a_claim_that_was_not_let_through_did_nothing_whenever_it_was_made(record: Callable[[str], Told]) -> None:
    forger = Forger(*record("request"))
    forger.again_last(_CLAIMED, DAY, fence=2, grant="sha256:" + "0" * 64)
    (found,) = (text for _, text in forger.differences())
    assert "before another right claims it" in found, "only that it claimed what was done, and nothing about its time"


def test_plans_of_before_their_instant_was_kept_did_not_look_at_the_age_of_signals(
    record: Callable[[str], Told],
) -> None:
    forger = Forger(*record("unasked"))
    forger.moved(_CLAIMED, 20 * 60)
    forger.everywhere(planned_at=None)
    assert not list(forger.differences())
