"""Containment: what is taken away, how, and what is known about it afterwards.

Statuses, weakest to strongest knowledge:
- requested   the plan holds it; nothing was sent
- refused     people said no, or the request expired
- failed      the outside system refused the act; it is not done
- unknown     sent, and neither an answer nor a read-back tells; a person decides
- applied     the outside system said yes; nothing is proven yet
- unverified  applied, and no probe exists or the probes could not tell
- partial     some paths are refused, some still get through
- effective   the harmful path was refused N times in a row, through the path that the agent uses
- undone      the captured before-state was restored and read back
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runbooks.domain.incident import IncidentId, Name
from runbooks.domain.instants import Instant
from runbooks.domain.value import Digest, Value, canonical, digest_of


class Verb(StrEnum):
    """The closed list of things that quell can take away. A new verb is a new line here and a connector that has it."""

    DISABLE_TOOL = "disable_tool"
    BLOCK_CLIENT = "block_client"
    ROLL_BACK_PROMPT = "roll_back_prompt"
    DEACTIVATE_KEY = "deactivate_key"
    DENY_SESSIONS = "deny_sessions"
    REVOKE_TOKEN = "revoke_token"  # noqa: S105 - a verb, not a secret
    CALL_HTTP = "call_http"

    @property
    def shown(self) -> str:
        """As people read it: `disable tool`."""
        return self.value.replace("_", " ")


class Reversibility(StrEnum):
    """R0 reads; R1 is undone by one call; R2 is undone from a stored copy; R3 cannot be undone."""

    R0 = "R0"
    R1 = "R1"
    R2 = "R2"
    R3 = "R3"

    @property
    def rank(self) -> int:
        """0 to 3; higher is harder to take back."""
        return int(self.value[-1])

    @property
    def meaning(self) -> str:
        """In words, for the person who approves."""
        return {
            "R0": "only reads",
            "R1": "can be undone at once",
            "R2": "can be undone from a stored copy",
            "R3": "cannot be undone",
        }[self.value]


VERB_REVERSIBILITY: dict[Verb, Reversibility] = {
    Verb.DISABLE_TOOL: Reversibility.R1,
    Verb.BLOCK_CLIENT: Reversibility.R1,
    Verb.ROLL_BACK_PROMPT: Reversibility.R1,
    Verb.DEACTIVATE_KEY: Reversibility.R1,
    Verb.DENY_SESSIONS: Reversibility.R2,
    Verb.REVOKE_TOKEN: Reversibility.R3,
}
"""The least class of each verb. A control may state a higher one, never a lower; `call_http` must state its own."""

UNDO_IMPOSSIBLE: frozenset[Verb] = frozenset({Verb.REVOKE_TOKEN})
"""Verbs whose undo answers "impossible: reissue"."""


ALONE = 1000
"""Attempts above this one were made by one person alone, under break-glass."""


class ContainmentAction(Value):
    """One exact act: what a person approves and a connector performs. Its digest is what the approval is bound to."""

    id: Name
    incident: IncidentId
    system: Name
    verb: Verb
    connector: Name
    target: str
    desired: dict[str, str] = {}
    reversibility: Reversibility
    title: str
    why: str
    blast_radius: str
    undo: str
    probes: tuple[Name, ...] = ()
    lag_seconds: Annotated[int, Field(ge=0)] = 0
    deadline_seconds: Annotated[int, Field(ge=1)] = 60
    drill: bool = False
    attempt: Annotated[int, Field(ge=1)] = 1
    """2 and more: the same taken away again after it was given back. Another effect, with another right."""

    def alone(self, turn: int) -> "ContainmentAction":
        """The same as one person does it alone for the turn-th time: an effect of its own, which uses up no consent."""
        return self.model_copy(update={"attempt": ALONE + turn})

    @property
    def effect_key(self) -> str:
        """The key of this effect, made from its meaning: the same act of the same incident is one effect, ever."""
        meaning = [
            self.incident, self.system, self.verb, self.connector, self.target, self.desired, self.attempt,
        ]  # fmt: skip
        return "effect/" + digest_of(canonical(meaning)).removeprefix("sha256:")[:32]

    @property
    def undo_key(self) -> str:
        """The key of undoing this effect."""
        return "undo/" + self.effect_key.removeprefix("effect/")

    def does(self, other: "ContainmentAction") -> bool:
        """Whether the other act does the same to the same, at no lower class; titles and attempts may differ."""
        return (self.system, self.verb, self.connector, self.target, self.desired) == (
            other.system, other.verb, other.connector, other.target, other.desired,
        ) and self.reversibility.rank <= other.reversibility.rank  # fmt: skip

    @property
    def target_key(self) -> str:
        """What is acted upon, whoever acts: two incidents with one target meet here."""
        return f"{self.system}/{self.connector}/{self.verb}/{self.target}"


class Plan(Value):
    """What the runbook, the inventory and the policy make of this incident, bound to the sealed evidence."""

    incident: IncidentId
    manifest: Digest | None
    """The seal that it rests on; None only under a recorded waiver, named in `waiver`."""
    waiver: Digest | None = None
    configuration: Digest
    runbook: Digest
    actions: tuple[ContainmentAction, ...]
    preauthorised: tuple[Name, ...] = ()
    """Ids of actions that the active policy allows without waiting for a person."""
    waits: dict[Name, str] = {}
    """Ids of actions that it allows so, and that wait for people in this incident all the same: why, in words."""
    refused: tuple[str, ...] = ()
    """Why something that the runbook asks for is not planned, in words."""

    def action(self, action_id: str) -> ContainmentAction:
        """The action with this id; KeyError if the plan has none."""
        for action in self.actions:
            if action.id == action_id:
                return action
        raise KeyError(action_id)


class Snapshot(Value):
    """The before-state of one target, as photographed before the act. `state` is what undo writes back."""

    target: str
    state: dict[str, str]
    captured_at: Instant


class ContainmentStatus(StrEnum):
    """See the head of this file."""

    REQUESTED = "requested"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    APPLIED = "applied"
    UNVERIFIED = "unverified"
    PARTIAL = "partial"
    EFFECTIVE = "effective"
    UNDONE = "undone"


class Receipt(Value):
    """What one act did: before, verb, after, how it is undone."""

    action: Name
    effect_key: str
    verb: Verb
    target: str
    before: Digest
    """Digest of the stored snapshot."""
    after: dict[str, str]
    noop: bool = False
    """The target was already as desired; nothing was sent."""
    recovered: bool = False
    """The act was found done by reading back, after a crash or an ambiguous answer."""
    applied_at: Instant


class Passage(StrEnum):
    """What one probe saw."""

    REFUSED = "refused"
    THROUGH = "through"
    UNCLEAR = "unclear"


class ProbeResult(Value):
    """One look through the path that the agent uses."""

    probe: Name
    passage: Passage
    saw: str
    at: Instant


def judge_probes(results: dict[str, tuple[ProbeResult, ...]], consecutive: int) -> tuple[ContainmentStatus, str]:
    """What the probes of one action prove: every path refused N times in a row, some, or none.

    `results` holds, per configured probe, what it saw in order, empty if nothing yet. The last N of each path decide.
    """
    if consecutive < 1:
        raise ValueError(f"{consecutive} refusals in a row prove nothing; expected 1 or more")
    if not results:
        return ContainmentStatus.UNVERIFIED, "no probe is configured for it"
    closed, open_paths, unclear = [], [], []
    for probe, seen in sorted(results.items()):
        last = seen[-consecutive:]
        if len(last) == consecutive and all(result.passage is Passage.REFUSED for result in last):
            closed.append(probe)
        elif any(result.passage is Passage.THROUGH for result in last):
            open_paths.append(probe)
        else:
            unclear.append(probe)
    if not open_paths and not unclear:
        return ContainmentStatus.EFFECTIVE, f"refused {consecutive} times in a row on {', '.join(closed)}"
    if closed:
        return ContainmentStatus.PARTIAL, f"refused on {', '.join(closed)}; not on {', '.join(open_paths + unclear)}"
    if open_paths:
        return ContainmentStatus.APPLIED, f"still gets through on {', '.join(open_paths)}"
    return ContainmentStatus.UNVERIFIED, f"the probes could not tell on {', '.join(unclear)}"
