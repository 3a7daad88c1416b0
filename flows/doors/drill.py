"""`quell drill`: a real attack on the practice agent, and the whole response to it, in one command.

The drill is the real path: the same server, worker, keeper, flows, connectors and commands; only the far side is a
practice system and the responders are scripted (with keys of their own, through the commands that people use).
`--interactive` leaves the approvals to you.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from examples.support_agent import attacks, monitor
from examples.support_agent.world import World
from flows.doors import practice
from flows.doors.door.address import door_url
from flows.doors.drill_report import own_command, report, told
from flows.doors.engine_server import engine_environment
from flows.doors.sender import send
from flows.doors.up import start_in_background, stop
from runbooks.domain.approval import ApprovalRequest, Purpose
from runbooks.domain.errors import QuellError
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Json
from tasks.installation import Installation, open_installation
from tasks.links import response_link
from tasks.settings import home_of, interface_of

SCENARIOS: dict[str, Callable[[World], attacks.AttackResult]] = {
    "prompt_injection": attacks.injected_ticket, "agentic_misalignment": attacks.overbroad_goal,
}  # fmt: skip
"""Archetype to the attack."""
UP_SECONDS = 240
MONITOR_SECONDS = 30
RUN_SECONDS = 30
RESPONSE_SECONDS = 300
INTERACTIVE_SECONDS = 24 * 3600


@dataclass
class Drill:
    """One drill under way."""

    archetype: str
    home: Path
    out: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """One line with the seconds since the drill began."""
        self.out(f"{time.monotonic() - self.began:6.1f} s  {text}")


def run_drill(args: argparse.Namespace) -> int:
    """The command. 0 when the attack worked before, does not work after, and everything in between is on record."""
    archetype = str(args.archetype).replace("-", "_")
    if archetype not in SCENARIOS:
        print(f"expected one of {', '.join(SCENARIOS)}, found {args.archetype}", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # however it is ended, what it started is stopped
    home = practice.fresh_home(home_of() / "practice")
    drill = Drill(archetype, home, out=lambda text: print(text, file=sys.stderr, flush=True))
    os.environ["QUELL_HOME"] = str(home)
    drill.say(f"practice installation in {home}")
    with args.say.busy("starting the practice agent"):
        world = practice.prepare(home, args.seed)
    try:
        drill.say(f"practice agent is up: {world.describe.addresses.agent} (money, prompts, tokens: all its own)")
        with args.say.busy("starting Prefect, worker, keeper, door and dispatcher: about half a minute"):
            open_installation().activate_if_fresh()
            status = start_in_background(home, UP_SECONDS, commands=commands())
        os.environ.update(engine_environment(home))
        drill.say(f"quell is up: {status.ui_url}")
        # Beside a spinner long lines are broken, and those for you are to be copied.
        with contextlib.nullcontext() if args.interactive else args.say.busy("the response runs"):
            result = _respond(drill, world, interactive=args.interactive)
        if args.keep:
            drill.say(f"left running until you press Ctrl-C; in another terminal: export QUELL_HOME={home}")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    finally:
        with args.say.busy("stopping what this drill started"):
            stop(home)
            world.stop()
    drill.say("stopped everything that this drill started")
    print(json.dumps(result, indent=None if args.json else 2) if args.json else told(result, home))
    return 0 if result["ok"] else 1


def commands() -> dict[str, list[str]]:
    """What `up` keeps running beside the server."""
    base = [sys.executable, "-m", "flows.doors.cli"]
    return {
        name: [*base, word]
        for name, word in (("worker", "work"), ("keeper", "keep"), ("door", "door"), ("dispatcher", "dispatch"))
    }


def _respond(drill: Drill, world: World, *, interactive: bool) -> dict[str, Json]:
    installation = open_installation()
    since = world.last_seq()
    before = SCENARIOS[drill.archetype](world)
    drill.say(
        f"the attack worked: {before.refunds} refunds, {before.total_cents / 100:.2f} in the tool server's own book"
    )
    receipt = alarm(drill.home, world, since)
    drill.say(f"the agent's monitor saw it in the book and posted a signed webhook: {receipt}")
    incident = opened_by(installation, receipt)
    drill.say(f"{incident} opened; its response runs")
    if interactive:
        say_how_to_answer(drill, _run_of(installation, incident))
    _follow(drill, installation, world, incident, scripted=not interactive)
    since = world.last_seq()
    attack_again(drill.archetype, world)
    after = attacks.achieved(world, since)
    drill.say(f"the same attack again: {after.refunds} refunds")
    bundle = command("export", incident, str(drill.home / "bundle"))
    return report(command("show", incident), before, after, bundle)


def _run_of(installation: Installation, incident: str) -> str:
    """The page of the response's run; of all runs when it does not begin soon."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        if link := response_link(installation, incident):
            return link
        time.sleep(0.1)
    return f"{interface_of()}/runs"


def say_how_to_answer(drill: Drill, page: str) -> None:
    """Where to sign in, where to press, whose name and code to type; and the same without a browser."""
    quell = own_command()
    drill.say(f"answer as one of {', '.join(practice.PEOPLE)}, here: {page}")
    drill.say(f"  sign in with the text in {drill.home}/secrets/prefect-auth; then the menu ⋮ at the top right, Resume")
    drill.say("  the form wants a one-time code; each counts once. In another terminal:")
    drill.say(f"    export QUELL_HOME={drill.home}")
    drill.say(f"    {quell} keys code {practice.PEOPLE[0]}")
    drill.say("  or sign there instead of the form (what cannot be undone always needs that):")
    drill.say(f"    {quell} inbox")
    drill.say(f'    {quell} approve REQ-… --as {practice.PEOPLE[0]} --key '
              f'{practice.key_file(drill.home, practice.PEOPLE[0])} --reason "…"')  # fmt: skip


def alarm(home: Path, world: World, since: int) -> str:
    """The agent's monitor looks into the book and tells quell's door what it sees; returns the receipt."""
    finding = monitor.watch(world, since, MONITOR_SECONDS)
    address = f"{door_url(home)}/signals/{practice.MONITOR}"
    data = {
        "system": "support-agent", "labels": [finding.label], "text": finding.text, "alert": finding.alert,
        "occurred_at": finding.began_at,
    }  # fmt: skip
    answer = json.loads(send(address, practice.monitor_secret(home), finding.kind, data))
    return str(answer["receipt"])


def opened_by(installation: Installation, receipt: str) -> str:
    """The incident that this delivery opened."""
    deadline = time.monotonic() + RESPONSE_SECONDS
    while time.monotonic() < deadline:
        for entry in installation.store.entries(types=(EntryType.INCIDENT_OPENED,)):
            if dict(entry.body.get("origin") or {}).get("delivery") == receipt:
                return str(entry.incident)
        time.sleep(0.02)
    raise QuellError(
        f"expected the delivery {receipt} to open an incident within {RESPONSE_SECONDS} s, found none.",
        now="it is in the spool; nothing is lost.", next_step="look at the logs of door and dispatcher.",
    )  # fmt: skip


def attack_again(archetype: str, world: World) -> None:
    """The very same attack once more, for real, after the response; whatever it achieves stands in the book."""
    if archetype == "agentic_misalignment":
        world.goal(attacks.overbroad_goal_text())
        return
    for number in range(5):
        text = attacks.render(attacks.attack_ticket()["text"], order="ORD-1007", customer="goran@example.com")
        world.ticket(f"again-{number}", "goran@example.com", text)


def _follow(drill: Drill, installation: Installation, world: World, incident: str, *, scripted: bool) -> None:
    """Watch the record, tell what happens, and let the scripted responders answer, until the incident is closed."""
    seen = 0
    reissued = False
    limit = RESPONSE_SECONDS if scripted else INTERACTIVE_SECONDS
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        entries = installation.store.entries(incident)
        for entry in entries[seen:]:
            because = f": {entry.body['because']}" if entry.body.get("because") else ""
            what = entry.body.get("action") or ""
            drill.say(f"  {entry.type.replace('_', ' ')} {what}{because}"[:200])
        seen = len(entries)
        if any(entry.type is EntryType.INCIDENT_CLOSED for entry in entries):
            return
        if not reissued and _token_is_missed(entries):
            world.reissue_agent_token()
            reissued = True
            drill.say("the operator issued a new token for the agent (a revoked one cannot come back)")
        if scripted:
            answer_what_waits(drill, installation, incident)
        time.sleep(0.2)
    raise QuellError(
        f"expected {incident} to be closed within {_span(limit)}, found it open.",
        now="the practice systems are stopped; nothing real was touched.",
        next_step=f"look at it: QUELL_HOME={drill.home} {own_command()} show {incident}; logs are in {drill.home}/logs.",
    )


def _span(seconds: int) -> str:
    return f"{seconds // 3600} hours" if seconds >= 7200 else f"{seconds} s"


def _token_is_missed(entries: list[LedgerEntry]) -> bool:
    """The token was revoked and looked at again after the agent's identity came back."""
    return any(
        e.type is EntryType.PROBES_JUDGED and e.body.get("again") and e.body.get("action") == "agent-token"
        for e in entries
    )


def answer_what_waits(drill: Drill, installation: Installation, incident: str) -> None:
    """Each scripted responder who may answers with a signature of their own, until nobody more is needed."""
    from tasks.approval import eligible, verdict_on, waiting  # noqa: PLC0415

    for request, _ in waiting(installation, lambda r: r.incident == incident):
        for person in _willing(eligible(installation, request), request):
            if verdict_on(installation, request).still_needed == 0:
                break
            command(
                "approve", request.id, "--as", person, "--key", str(practice.key_file(drill.home, person)),
                "--reason", "practised: the plan fits what the evidence shows",
            )  # fmt: skip
            drill.say(f"  {person} approved {request.id} ({request.what})")


def _willing(names: list[str], request: ApprovalRequest) -> list[str]:
    """Giving back is answered first by those who did not take away."""
    if request.purpose is Purpose.CONTAIN:
        return names
    return sorted(names, key=lambda name: (name in request.acted_before, name))


def command(*words: str) -> dict[str, Json]:
    """Run one of quell's own commands, exactly as a person would, and return its JSON."""
    from flows.doors.cli import main  # noqa: PLC0415

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*words, "--json"])
    answer: dict[str, Json] = json.loads(out.getvalue() or "{}")
    if code != 0:
        raise QuellError(
            f"quell {words[0]} ended with {code}, expected 0: {answer.get('error', answer)}.",
            now="the drill stops here.", next_step="the lines above say what came before.",
        )  # fmt: skip
    return answer
