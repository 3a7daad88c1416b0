"""The result of a drill: from the record, and from the tool server's own book."""

import sys
from pathlib import Path

from examples.support_agent.attacks import AttackResult
from flows.doors.commands._say import plain
from runbooks.domain.bundle import REPORT
from runbooks.domain.value import Json

_OF_AN_ACT = (
    "action", "verb", "target", "reversibility", "preauthorised", "status", "requested_at", "applied_at",
    "effective_at", "undone_at", "undo_note",
)  # fmt: skip


_LONGEST_LINE = 160
"""Letters of one line of the timeline."""


def report(
    shown: dict[str, Json], before: AttackResult, after: AttackResult, bundle: dict[str, Json]
) -> dict[str, Json]:
    """What `quell drill --json` prints; `shown` is what `quell show --json` says, `bundle` what `quell export --json` says."""
    evidence = shown["evidence"] or {}
    ok = before.succeeded and after.refunds == 0 and shown["ending"] == "recovered"
    return {
        "incident": shown["incident"],
        "archetype": shown["archetype"],
        "severity": shown["severity"],
        "drill": shown["drill"],
        "ending": shown["ending"],
        "attack": {"before": _achieved(before), "after": _achieved(after)},
        "evidence": {
            "classes": {name: one["captured"] for name, one in evidence.get("classes", {}).items()},
            "items": evidence.get("items"),
            "bytes": evidence.get("bytes"),
            "manifest_digest": evidence.get("manifest_digest"),
            "gaps": evidence.get("gaps", []),
        },
        "approvals": shown["approvals"],
        "actions": [{key: row[key] for key in _OF_AN_ACT} for row in shown["actions"]],
        "recovery": shown["recovery"],
        "review": shown["review"],
        "times": shown["times"],
        "timeline": shown["timeline"],
        "links": shown["links"],
        "bundle": {
            "directory": bundle["directory"],
            "report": str(Path(bundle["directory"]) / REPORT),
            "key": bundle["key"],
        },
        "vault": shown["vault"],
        "ledger": shown["ledger"],
        "ok": ok,
    }


def _achieved(result: AttackResult) -> dict[str, Json]:
    """Refunds that the book shows, what was asked for, and what moved, in the book's currency."""
    return {
        "refunds": result.refunds,
        "asked": f"{result.total_cents / 100:.2f}",
        "moved": f"{result.moved_cents / 100:.2f}",
    }


def told(result: dict[str, Json], home: Path) -> str:
    """The same for a person."""
    before, after = result["attack"]["before"], result["attack"]["after"]
    evidence, recovery = result["evidence"], result["recovery"]
    captured = ", ".join(f"{name} {state}" for name, state in evidence["classes"].items())
    word = "PASSED" if result["ok"] else "FAILED"
    quell = own_command()
    lines = ["", "  timeline (UTC)"]
    lines += [
        f"    {_clock(line['at'])}  {plain(' '.join(line['what'].split()), _LONGEST_LINE)}"
        for line in result["timeline"]
    ]
    lines += [
        "",
        f"DRILL {word}: {result['incident']} ({result['archetype']}, {result['severity']}) ended {result['ending']}.",
        "",
        f"  attack before   {before['refunds']} refunds, {before['moved']} moved (the tool server's own book)",
        f"  attack after    {after['refunds']} refunds, {after['moved']} moved",
        f"  evidence        {evidence['items']} items sealed: {captured}",
        *(f"                  gap {gap}" for gap in evidence["gaps"]),
        f"                  manifest {evidence['manifest_digest']}",
    ]  # fmt: skip
    lines += [
        f"  {row['verb'].replace('_', ' '):<15} {row['target']}: {row['status'].upper()}  applied {_clock(row['applied_at'])}  "
        f"effective {_clock(row['effective_at'])}  given back {_clock(row['undone_at'])}"
        for row in result["actions"]
    ]
    if recovery:
        lines.append(
            f"  recovery        {recovery['hits']} hits of {recovery['trials']}; the true rate is below "
            f"{recovery['upper_bound']} %, the bar is {recovery['bar']} %: {recovery['verdict']}"
        )
    times = ", ".join(
        f"{name.removeprefix('to_').replace('_', ' ')} {value}" for name, value in result["times"].items()
    )
    lines += [
        f"  review          {result['review']['scheduled_for']}",
        f"                  invitation {result['review']['invitation']}",
        f"  seconds to      {times}",
        f"  report          {result['bundle']['report']}",
        f"  evidence in     {result['vault']}",
        f"  record in       {result['ledger']}",
        "",
        f"  Look again:     QUELL_HOME={home} {quell} show {result['incident']}",
        f"  Believe nobody: {quell} verify {result['bundle']['directory']} --key {result['bundle']['key']}",
    ]
    return "\n".join(lines)


def own_command() -> str:
    """How this `quell` is called from where the person is; after `make drill` it is on nobody's PATH."""
    here = Path(sys.executable).with_name("quell")
    if not here.exists():
        return "quell"
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


def _clock(at: str | None) -> str:
    return at[11:19] if at else "-"
