"""The replay as a step of a run: the findings are left on the run page, where an auditor looks for them."""

from prefect.artifacts import create_markdown_artifact

from runbooks.domain.audit import Weight
from runbooks.domain.replay import Outcome
from tasks.history import pages_now
from tasks.pages import clean
from tasks.replay import Replayed, replay_live
from tasks.step import here, step

_MARKS = {Outcome.AGREES: "✓", Outcome.DIFFERS: "✗", Outcome.WITHHELD: "?", Outcome.TOLD: ""}


@step("replay the incident")
def replay_incident(incident_id: str) -> bool:
    """Judge everything again and compare; leave the findings as an artifact. Returns whether the record holds."""
    done = replay_live(here(), incident_id, pages_now)
    create_markdown_artifact(
        replay_page(done),
        key=f"replay-{incident_id.lower()}",
        description="Does the record follow from its own inputs?",
    )
    return done.audit.sound


def replay_page(done: Replayed) -> str:
    """The findings, then every entry."""
    word = "the record holds" if done.audit.sound else f"{len(done.audit.faults)} findings"
    ordered = sorted(done.audit.findings, key=lambda one: one.weight is not Weight.FAULT)
    findings = "\n".join(
        f"| {'**fault**' if one.weight is Weight.FAULT else 'note'} | {clean(one.where)} | {clean(one.what)} | "
        f"{clean(one.means)} |"
        for one in ordered
    )
    film = "\n".join(f"| {s.entry} | {s.at[11:23]} | {_MARKS[s.outcome]} | {clean(s.what)} |" for s in done.steps)
    looked = ", ".join(f"{count} {name}" for name, count in done.audit.checked.items())
    return (
        f"# Replay of {done.incident}: {word}\n\nEvery judgement was made again from its recorded inputs; nothing was "
        f"called or changed. Looked at: {looked}.\n\n"
        + (
            f"| | Where | What | What it means |\n|---|---|---|---|\n{findings}\n\n"
            if findings
            else "Nothing was found.\n\n"
        )
        + f"## The incident, entry by entry\n| Entry | UTC | | What |\n|---|---|---|---|\n{film}\n"
    )
