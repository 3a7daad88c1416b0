"""One incident per real incident: each rule, and what holds in any order of signals."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from runbooks.domain.correlation import (
    AlertState,
    Correlated,
    CorrelationRules,
    KnownIncident,
    Quiet,
    Standing,
    Verdict,
    correlate,
    is_storm,
    newer,
    starts_unasked,
)
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import later
from runbooks.domain.likeness import correlation_key, spoken_key, spoken_key_of
from runbooks.domain.severity import Severity
from runbooks.domain.signal import Basis, Signal, SignalState, Strength, TriageOutcome
from tests.domain.cast import NOW, a_classified, a_signal

RULES = CorrelationRules()
MINUTE, HOUR, DAY = 60, 3600, 86_400
KEY = correlation_key(a_signal(), a_classified(), at_once=False)


def known(**changes: object) -> KnownIncident:
    return KnownIncident(
        id="INC-0001", key=KEY, standing=Standing.OPEN, at_once=False, severity=Severity.SEV2, opened_at=NOW,
        last_signal_at=NOW,
    ).model_copy(update=changes)  # fmt: skip


def judge(
    signal: Signal, own: KnownIncident | None = None, stronger: KnownIncident | None = None, *quiets: Quiet
) -> Correlated:
    return correlate(
        signal, a_classified(), own=own, stronger=stronger, quiets=quiets, rules=RULES, now=signal.received_at
    )


def received(seconds: int, **changes: object) -> Signal:
    return a_signal(received_at=later(NOW, seconds), **changes)


def test_nothing_is_open_so_one_opens() -> None:
    said = judge(received(0))
    assert (said.verdict, said.incident, said.recurrence_of) == (Verdict.OPENED, None, None)


@pytest.mark.parametrize("own", [None, known(), known(standing=Standing.CLOSED, ended_at=NOW)])
def test_1_a_resolved_signal_neither_opens_nor_joins_nor_closes(own: KnownIncident | None) -> None:
    said = judge(received(5, state=SignalState.RESOLVED), own)
    assert (said.verdict, said.incident) == (Verdict.RESOLVED, None)


def a_quiet(**changes: object) -> Quiet:
    return Quiet(
        id="QUIET-1", system="agent", since=NOW, until=later(NOW, HOUR), maintenance=True, person="alice", reason="r"
    ).model_copy(update=changes)


def test_2_a_quiet_system_opens_nothing_until_the_quiet_ends() -> None:
    assert judge(received(0), None, None, a_quiet()).verdict is Verdict.QUIET
    assert judge(received(HOUR - 1), known(), None, a_quiet()).quiet == "QUIET-1"
    assert judge(received(HOUR), None, None, a_quiet()).verdict is Verdict.OPENED
    assert judge(received(-1), None, None, a_quiet()).verdict is Verdict.OPENED


def test_2_quiet_covers_what_was_foreseen_and_nothing_worse() -> None:
    for narrower in ({"system": "other"}, {"archetypes": (Archetype.TOXICITY_ABUSE,)}, {"worst": Severity.SEV3}):
        assert judge(received(0), None, None, a_quiet(**narrower)).verdict is Verdict.OPENED


def test_3_a_signal_joins_within_the_sliding_window() -> None:
    busy = known(last_signal_at=later(NOW, 5 * HOUR))
    assert judge(received(5 * HOUR + 30 * MINUTE), busy).incident == "INC-0001"
    late = judge(received(5 * HOUR + 30 * MINUTE + 1), busy)
    assert (late.verdict, late.recurrence_of, late.passed) == (Verdict.OPENED, "INC-0001", "INC-0001")


def test_3_an_incident_that_never_ends_takes_no_more_after_a_day() -> None:
    endless = known(last_signal_at=later(NOW, DAY))
    assert judge(received(DAY), endless).verdict is Verdict.JOINED
    said = judge(received(DAY + 1), endless)
    assert (said.verdict, said.recurrence_of) == (Verdict.OPENED, "INC-0001")


@pytest.mark.parametrize("standing", [Standing.PASSED, Standing.CLOSED])
def test_4_what_came_late_joins_and_wakes_nothing(standing: Standing) -> None:
    over = known(standing=standing, ended_at=later(NOW, HOUR))
    assert judge(received(HOUR), over).verdict is Verdict.LATE
    assert judge(received(HOUR + 1), over).verdict is Verdict.OPENED


@pytest.mark.parametrize("standing", [Standing.PASSED, Standing.CLOSED, Standing.UNTOUCHED])
def test_4_what_came_late_and_is_worse_than_what_people_know_opens_one(standing: Standing) -> None:
    mild = known(standing=standing, ended_at=later(NOW, HOUR), severity=Severity.SEV3)
    for seconds in (0, HOUR):
        said = judge(received(seconds), mild)
        assert (said.verdict, said.recurrence_of, said.passed) == (Verdict.OPENED, "INC-0001", None)
        assert "is worse than all" in said.because
    assert judge(received(HOUR), mild.model_copy(update={"severity": Severity.SEV2})).verdict is Verdict.LATE
    assert judge(received(-1), mild).verdict is Verdict.LATE, "or each old one would open one beside it"


NOTHING_TAKEN = [
    {"archetype": Archetype.UNCLASSIFIED, "outcome": TriageOutcome.UNCLASSIFIED},
    {"near_miss": True, "outcome": TriageOutcome.NEAR_MISS},
]


@pytest.mark.parametrize("found", NOTHING_TAKEN)
def test_4_more_of_what_ended_with_evidence_only_joins_while_the_window_lasts(found: dict[str, object]) -> None:
    same = a_classified().model_copy(update=found)

    def became(seconds: int, own: KnownIncident, severity: Severity = Severity.SEV2) -> Verdict:
        judged = same.severity.model_copy(update={"severity": severity})
        signal = received(seconds)
        return correlate(
            signal, same.model_copy(update={"severity": judged}), own=own, stronger=None, quiets=(), rules=RULES,
            now=signal.received_at,
        ).verdict  # fmt: skip

    key = correlation_key(a_signal(), same, at_once=False)
    over = known(key=key, standing=Standing.CLOSED, ended_at=later(NOW, 1))
    assert became(30 * MINUTE, over.model_copy(update={"key": KEY})) is Verdict.OPENED, "named anew: it took something"
    assert became(30 * MINUTE, over) is Verdict.LATE
    assert became(30 * MINUTE + 1, over) is Verdict.OPENED
    assert became(30 * MINUTE, over, Severity.SEV1) is Verdict.OPENED
    assert became(30 * MINUTE, over, Severity.SEV3) is Verdict.LATE
    assert became(DAY, over.model_copy(update={"last_signal_at": later(NOW, DAY)})) is Verdict.LATE
    assert became(DAY + 1, over.model_copy(update={"last_signal_at": later(NOW, DAY)})) is Verdict.OPENED
    assert became(5, over.model_copy(update={"standing": Standing.PASSED})) is Verdict.OPENED


def test_5_after_closure_a_new_incident_is_linked_as_recurrence() -> None:
    over = known(standing=Standing.CLOSED, ended_at=later(NOW, HOUR))
    soon = judge(received(HOUR + 10 * MINUTE), over)
    assert (soon.verdict, soon.recurrence_of, soon.passed) == (Verdict.OPENED, "INC-0001", None)
    assert "was closed 10 minutes earlier" in soon.because
    assert judge(received(HOUR + 14 * DAY), over).recurrence_of == "INC-0001"
    assert judge(received(HOUR + 14 * DAY + 1), over).recurrence_of is None


def test_6_a_weak_signal_joins_the_strong_incident_and_a_strong_one_never_the_weak() -> None:
    weak, strong = known(), known(id="INC-0002", at_once=True)
    assert judge(received(5), weak, strong).incident == "INC-0002"
    assert judge(received(5), weak, known(id="INC-0002", standing=Standing.CLOSED, ended_at=NOW)).incident == "INC-0001"
    strong_key = correlation_key(a_signal(), a_classified(), at_once=True)
    assert strong_key != KEY


@pytest.mark.parametrize(
    ("signal", "classified", "may"),
    [
        ({}, {}, True),
        ({"strength": Strength.SIGNED_UNDATED}, {}, False),
        ({"strength": Strength.TOKEN}, {}, False),
        ({"strength": Strength.UNPROVEN}, {}, False),
        ({"human": True}, {}, False),
        ({}, {"near_miss": True}, False),
        ({}, {"basis": Basis.KEYWORD}, False),
        ({}, {"basis": Basis.NONE}, False),
        ({}, {"basis": Basis.OPERATOR}, True),
    ],
)
def test_6_what_may_start_without_people(signal: dict[str, object], classified: dict[str, object], may: bool) -> None:
    assert starts_unasked(a_signal(**signal), a_classified(**classified)) is may


def spoken(
    signal: Signal, people: KnownIncident, own: KnownIncident | None = None, *, at_once: bool = False
) -> Correlated:
    return correlate(
        signal, a_classified(), own=own, stronger=None, quiets=(), rules=RULES, now=signal.received_at, spoken=people,
        at_once=at_once,
    )  # fmt: skip


PEOPLES = known(id="INC-0009", key="sha256:" + "9" * 64)


def test_3_signals_join_what_people_opened_for_the_same() -> None:
    assert spoken(received(30 * MINUTE), PEOPLES).incident == "INC-0009"
    assert spoken(received(30 * MINUTE), PEOPLES, known()).incident == "INC-0001", "their own one comes first"
    closed = known(standing=Standing.CLOSED, ended_at=later(NOW, 5))
    assert spoken(received(4), PEOPLES, closed).incident == "INC-0009", "and what is open before what is over"
    assert spoken(received(6), PEOPLES.model_copy(update={"standing": Standing.CLOSED})).recurrence_of == "INC-0009"
    late = spoken(received(30 * MINUTE + 1), PEOPLES)
    assert (late.verdict, late.recurrence_of, late.passed) == (Verdict.OPENED, "INC-0009", None)


def test_6_what_may_begin_at_once_joins_nothing_that_people_opened_and_names_it() -> None:
    said = spoken(received(5), PEOPLES, at_once=True)
    assert (said.verdict, said.recurrence_of) == (Verdict.OPENED, None)
    assert said.because == "nothing like it is open; INC-0009 is open for the same, and there people are waited for"
    assert (
        "INC-0009"
        not in spoken(received(5), PEOPLES.model_copy(update={"standing": Standing.CLOSED}), at_once=True).because
    )


@pytest.mark.parametrize(
    "outcome", sorted(set(TriageOutcome) - {TriageOutcome(one) for one in Archetype} - {TriageOutcome.NEAR_MISS})
)
def test_people_have_one_word_for_what_has_no_runbook_and_signals_have_several(outcome: TriageOutcome) -> None:
    assert (
        spoken_key_of(a_signal(), a_classified(archetype=Archetype.UNCLASSIFIED, outcome=outcome), drill=False) is None
    )


@pytest.mark.parametrize("signal", [{"environment": "staging"}, {"entity": "tenant-1"}, {"source": "customers"}])
def test_what_people_do_not_say_keeps_no_signal_from_what_they_opened(signal: dict[str, object]) -> None:
    key = spoken_key("agent", Archetype.AGENTIC_MISALIGNMENT, near_miss=False, drill=False)
    assert spoken_key_of(a_signal(**signal), a_classified(), drill=False) == key
    assert spoken_key_of(a_signal(**signal), a_classified(), drill=True) != key, "a drill swallows nothing that is real"
    assert spoken_key_of(a_signal(system="other"), a_classified(), drill=False) != key
    assert spoken_key_of(a_signal(), a_classified(near_miss=True, outcome=TriageOutcome.NEAR_MISS), drill=False) != key


def test_7_a_storm_begins_beyond_the_limit() -> None:
    assert [is_storm(count, RULES) for count in (0, 19, 20, 21)] == [False, False, True, True]


@pytest.mark.parametrize(
    "change", [{"system": "other"}, {"system": None}, {"environment": "staging"}, {"entity": "tenant-1"}]
)
def test_the_key_tells_incidents_apart(change: dict[str, object]) -> None:
    assert correlation_key(a_signal(**change), a_classified(), at_once=False) != KEY


@pytest.mark.parametrize(
    "change", [{"outcome": TriageOutcome.SUPPLIER}, {"archetype": Archetype.UNCLASSIFIED}, {"near_miss": True}]
)
def test_the_key_tells_what_happened_apart(change: dict[str, object]) -> None:
    assert correlation_key(a_signal(), a_classified(**change), at_once=False) != KEY


@pytest.mark.parametrize(
    "same",
    [{"source": "customers"}, {"event_key": "sha256:" + "9" * 64}, {"text": "other"}, {"human": True}, {"kind": "b"}],
)
def test_who_says_it_and_in_which_words_is_no_part_of_the_key(same: dict[str, object]) -> None:
    assert correlation_key(a_signal(**same), a_classified(), at_once=False) == KEY


@given(some.lists(some.tuples(some.sampled_from(SignalState), some.integers(0, 3)), min_size=1, max_size=6))
def test_an_alert_stands_the_same_whatever_order_it_is_told_in(told: list[tuple[SignalState, int]]) -> None:
    def after(order: list[tuple[SignalState, int]]) -> AlertState | None:
        state = None
        for what, at in order:
            state = newer(state, a_signal(state=what, occurred_at=later(NOW, at)))
        return state

    assert after(told) == after(told[::-1]) == after(sorted(told))


@given(some.lists(some.integers(0, 3 * DAY), min_size=1, max_size=12).map(sorted))
def test_signals_in_order_never_leave_two_incidents_open(times: list[int]) -> None:
    """The same state machine as the store's, without the store: an incident that is left behind takes no more."""
    ids: list[KnownIncident] = []
    for second in times:
        said = judge(received(second), ids[-1] if ids else None)
        if said.verdict is Verdict.OPENED:
            if said.passed:
                ids[-1] = ids[-1].model_copy(update={"standing": Standing.PASSED, "ended_at": ids[-1].last_signal_at})
            at = later(NOW, second)
            ids.append(known(id=f"INC-{len(ids):04}", opened_at=at, last_signal_at=at))
        else:
            assert said.incident == ids[-1].id
            ids[-1] = ids[-1].model_copy(update={"last_signal_at": later(NOW, second)})
        assert [one.standing for one in ids].count(Standing.OPEN) == 1
    assert len(ids) <= len(times)
