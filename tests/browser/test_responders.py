"""People in a browser: somebody starts a runbook from the run form, others answer in both interfaces, to the end.

What they see is kept as pictures; what counts is asserted on the ledger and on the far side's own files.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from examples.support_agent import attacks
from flows.doors.drill import attack_again
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.approval import requests_of
from tests.browser.ground import Ground, Shots, until
from tests.browser.interfaces import Interface, Newer, Older, press_until

pytestmark = [pytest.mark.browser, pytest.mark.far_side, pytest.mark.slow]

KNOWN_OUTSIDE = {"https://sr-client-cfg.amplitude.com"}
"""The newer interface asks this address for its settings even when analytics are off; it sends nothing about use."""
TRIES = 3
SAW = "A ticket made the agent refund 5,000 to a stranger."


def start_from_the_form(ui: Newer, ground: Ground, shots: Shots) -> tuple[str, str]:
    """Read what the deployment says, fill in the form, submit; returns the incident and its run."""
    page = ui.page
    ui.open_deployment("prompt-injection", "prompt_injection")
    expect(page.get_by_text("Start this when text told an AI agent what to do")).to_be_visible()
    shots.take(page, "deployment-description")
    ui.open_run_form()
    shots.take(page, "run-form-empty", whole=True)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("is a required property").first).to_be_visible()
    shots.take(page, "run-form-refused-because-empty")
    page.get_by_label("Which AI system?").fill("support-agent")
    page.get_by_label("What did you see?").fill(SAW)
    page.get_by_label("Your name").fill("Nia from the night shift")
    page.get_by_role("button", name="Select How bad is it?").click()
    page.get_by_role("option", name="some customers, money or data are touched").wait_for()
    shots.take(page, "run-form-how-bad")
    page.get_by_role("option", name="some customers, money or data are touched").click()
    page.get_by_label("This is a drill").click()
    shots.take(page, "run-form-filled", whole=True)
    submit = page.get_by_role("button", name="Submit")

    def opened() -> list[LedgerEntry]:
        return ground.installation.store.entries(types=(EntryType.INCIDENT_OPENED,))

    press_until(submit, submit, lambda: bool(opened()))
    until(lambda: bool(opened()), "the incident is opened", seconds=120)
    incident = str(opened()[-1].incident)
    run = str(ground.wait_for(incident, EntryType.RUN_SUSPENDED).flow_run_id)
    return incident, run


def look_around(ui: Newer, incident: str, run: str, shots: Shots) -> None:
    """The list of runs, the run, and what it left to read."""
    page = ui.page
    page.locator("a[href='/v2/runs']").first.click()
    page.get_by_role("link", name=incident).first.wait_for()
    shots.take(page, "runs")
    page.get_by_role("link", name=incident).first.click()
    ui.wait_for_state("Suspended")
    expect(page.get_by_text("To answer: menu")).to_be_visible()
    shots.take(page, "run-waits", whole=True)
    ui.open_artifacts()
    page.get_by_text("decisions needed").first.wait_for()
    shots.take(page, "run-artifacts")
    for kind, words in (
        ("brief", "Nia from the night shift"),
        ("evidence", "the agent keeps no memory between tickets"),
        ("approval", "Switch off the agent's refund tool"),
    ):
        ui.open_artifact(run, kind)
        expect(page.locator(".prose").first).to_contain_text(words)
        assert SAW not in page.inner_text("body"), "what was reported may be hostile; it stays out of artifacts"
        shots.take(page, f"artifact-{kind}", whole=True)


@dataclass
class Asked:
    """One incident that waits, and who looks at it."""

    ground: Ground
    shots: Shots
    incident: str
    run: str

    def answer(self, ui: Interface, what: str, person: str, name: str, *, wrongly: bool = False) -> None:
        """Open the waiting run, resume, fill in, send; wait until the run has taken it in."""
        woken = len(self.ground.entries(self.incident, EntryType.RUN_WOKEN))
        requests = [r for r in requests_of(self.ground.installation, self.incident) if what in r.what]
        request = requests[-1].id  # what was taken away may be asked for again, to be given back
        ui.open_run(self.run)
        form = ui.open_resume()
        expect(form).to_contain_text(what)
        self.shots.take(ui.page, f"{name}-form")
        ui.fill_in(form, request, person, "approve", "The plan fits what the evidence shows.")
        ui.type_code(form, self.ground.wrong_code(person) if wrongly else self.ground.code(person))
        self.shots.take(ui.page, f"{name}-filled")
        ui.send(form, lambda: len(self.ground.entries(self.incident, EntryType.RUN_WOKEN)) > woken)
        self.ground.wait_for(self.incident, EntryType.RUN_WOKEN, woken + 1)

    def approve(self, ui: Interface, what: str, person: str, name: str) -> LedgerEntry:
        """Answer until it counts: on a busy machine a code can be too old when the run reads it, as for people."""
        before = len(self.ground.entries(self.incident, EntryType.DECISION_RECORDED))
        for again in range(TRIES):
            self.answer(ui, what, person, name + "-again" * again)
            recorded = self.ground.entries(self.incident, EntryType.DECISION_RECORDED)
            if len(recorded) > before:
                return recorded[-1]
            self.waits()
        raise AssertionError(f"{person} was not accepted in {TRIES} tries")

    def waits(self) -> None:
        """Until the run has suspended again, after every answer so far."""
        suspended, woken = EntryType.RUN_SUSPENDED, EntryType.RUN_WOKEN
        until(
            lambda: self.ground.entries(self.incident, suspended, woken)[-1].type is suspended,
            f"{self.incident} waits again", seconds=180,
        )  # fmt: skip


def a_wrong_code_is_refused(asked: Asked, newer: Newer) -> None:
    """With a sentence that helps; nothing else happens, and the run waits on."""
    ground, incident = asked.ground, asked.incident
    asked.answer(newer, "refund tool", "ana", "wrong-code", wrongly=True)
    assert ground.wait_for(incident, EntryType.DECISION_REFUSED).body["claimed_person"] == "ana"
    asked.waits()
    assert not ground.entries(incident, EntryType.DECISION_RECORDED, EntryType.EFFECT_CLAIMED)
    assert ground.refund_tool_is_on()
    newer.open_artifact(asked.run, "answer")
    expect(newer.page.locator(".prose").first).to_contain_text("NOT accepted: the one-time code is not the one")
    asked.shots.take(newer.page, "artifact-answer-not-accepted")


def two_people_switch_the_tool_off(asked: Asked, newer: Newer, older: Older) -> None:
    """One in each interface; one alone is not enough; then it is off, and a probe saw it."""
    ground, incident = asked.ground, asked.incident
    assert asked.approve(newer, "refund tool", "ana", "first-person-newer").body["attested"] == "attested by quell"
    asked.waits()
    assert ground.refund_tool_is_on(), "one of two people is not enough"
    older.ask_who()
    asked.shots.take(older.page, "older-sign-in")
    older.sign_in()
    older.open_run(asked.run)
    older.page.get_by_role("button", name="Resume").wait_for()
    asked.shots.take(older.page, "older-run-waits")
    asked.approve(older, "refund tool", "ben", "second-person-older")
    granted = ground.wait_for(incident, EntryType.REQUEST_GRANTED)
    assert sorted(granted.body["approvers"]) == ["ana", "ben"]
    ground.wait_for(incident, EntryType.EFFECT_APPLIED)
    assert not ground.refund_tool_is_on()
    assert ground.wait_for(incident, EntryType.PROBES_JUDGED).body["status"] == "effective"


def the_prompt_goes_back_and_the_attack_fails(asked: Asked, newer: Newer, older: Older) -> None:
    """The second request, the same way; then containment is complete."""
    ground, incident = asked.ground, asked.incident
    asked.waits()
    newer.open_artifact(asked.run, "containment")
    asked.shots.take(newer.page, "artifact-containment-half", whole=True)
    asked.approve(newer, "system prompt", "cleo", "prompt-newer")
    asked.waits()
    asked.approve(older, "system prompt", "ben", "prompt-older")
    judged = ground.wait_for(incident, EntryType.CONTAINMENT_JUDGED, seconds=120)
    assert judged.body["verdict"]["complete"] is True
    since = ground.world.last_seq()
    attack_again("prompt_injection", ground.world)
    assert attacks.achieved(ground.world, since).refunds == 0


def others_give_the_tool_back(asked: Asked, newer: Newer) -> None:
    """Only after the fix passed its bar, and not only by those who took it away; then the incident is closed."""
    ground, incident = asked.ground, asked.incident
    assert ground.wait_for(incident, EntryType.RECOVERY_JUDGED, seconds=180).body["passed"] is True
    asked.waits()
    for kind in ("containment", "recovery", "approval"):
        newer.open_artifact(asked.run, kind)
        asked.shots.take(newer.page, f"artifact-{kind}-after", whole=True)
    asked.approve(newer, "refund tool", "dora", "give-back-newer")
    asked.waits()
    asked.approve(newer, "refund tool", "cleo", "give-back-second")
    assert ground.wait_for(incident, EntryType.INCIDENT_CLOSED, seconds=120).body["ending"] == "recovered"
    assert ground.refund_tool_is_on()
    newer.open_run(asked.run)
    newer.wait_for_state("Completed")
    asked.shots.take(newer.page, "run-completed", whole=True)
    newer.open_artifacts()
    newer.page.get_by_text("effective now").first.wait_for()
    newer.page.get_by_text("No decision needed now; 3 requests answered").first.wait_for()
    asked.shots.take(newer.page, "run-completed-artifacts")


def test_people_start_and_answer_in_both_interfaces(
    ground: Ground, new_person: Callable[[], Page], outside_requests: list[str], shots: Shots
) -> None:
    assert attacks.injected_ticket(ground.world).refunds == 1
    newer, older = Newer(new_person(), ground), Older(new_person(), ground)
    newer.ask_who()
    shots.take(newer.page, "sign-in")
    newer.sign_in()
    incident, run = start_from_the_form(newer, ground, shots)
    opened = ground.entries(incident, EntryType.INCIDENT_OPENED)[-1]
    assert (opened.body["drill"], opened.body["source"]) == (True, "form")
    assert [r.people for r in requests_of(ground.installation, incident)] == [2, 2]  # the requester is a typed name
    look_around(newer, incident, run, shots)
    newer.open_run(run)
    newer.open_menu()
    shots.take(newer.page, "where-resume-is")
    asked = Asked(ground, shots, incident, run)
    a_wrong_code_is_refused(asked, newer)
    two_people_switch_the_tool_off(asked, newer, older)
    the_prompt_goes_back_and_the_attack_fails(asked, newer, older)
    others_give_the_tool_back(asked, newer)
    assert {"/".join(url.split("/")[:3]) for url in outside_requests} <= KNOWN_OUTSIDE
