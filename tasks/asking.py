"""The words and terms of a request, frozen: what is asked, why, of whom, until when. Asked and judged in approval.py."""

import secrets

from runbooks.domain.approval import MORE_FOR_UNPROVEN, ApprovalRequest, Purpose, also_barred, barred_by
from runbooks.domain.containment import ContainmentAction, Plan
from runbooks.domain.identifiers import short_id
from runbooks.domain.incident import Incident, Requester
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from tasks.installation import Installation

BY_HAND = Requester(name="somebody at a terminal (quell undo)", proven=False)
"""Who asks to undo: it is not whoever asked for the response, and nobody knows who it is."""


def frozen_request(
    installation: Installation, incident: Incident, plan: Plan, action: ContainmentAction, purpose: Purpose,
    acted_before: tuple[str, ...], requester: Requester, waits: str = "",
) -> ApprovalRequest | None:  # fmt: skip
    """Under the right of the configuration that is active now, as people will see it; None when none lets anybody.

    What it says is fixed from here on. It is read together: the configuration that it names is the one whose right it
    has, and was active at `asked_at` or since.
    """
    now = installation.now()
    digest = installation.active_digest()
    active = installation.configuration(digest)
    right = active.right_for(
        purpose=purpose, verb=action.verb, reversibility=action.reversibility,
        severity=incident.severity.severity, system=action.system,
    )  # fmt: skip
    if right is None:
        return None
    barred = barred_by(right, active, action.system)
    if requester != incident.requester:
        barred |= also_barred(incident.requester.name, active, installation.configuration(plan.configuration))
    giving_back = purpose is not Purpose.CONTAIN
    return ApprovalRequest(
        id=short_id("REQ", secrets.token_bytes(8)), installation=installation.id, incident=incident.id,
        nonce=secrets.token_hex(16), purpose=purpose, step=action.id, action=action.digest(),
        what=f"Undo “{action.title}”" if giving_back else action.title,
        target=f"{action.target} of {action.system}, through {action.connector} ({action.verb.shown})",
        why=_why_back(installation, incident, purpose) if giving_back else _why(action, waits),
        blast_radius=(
            f"It works again for everybody, and nothing stops it any more. It was taken away because: {action.why}"
            if giving_back else action.blast_radius
        ),
        reversibility=action.reversibility,
        undo=f"Take it away again: {action.title}." if giving_back else action.undo,
        manifest=plan.manifest, waiver=plan.waiver, requester=requester, roles=right.roles,
        people=right.people + (0 if requester.proven else MORE_FOR_UNPROVEN), proofs=right.proofs,
        excluded=tuple(sorted(barred)), verb=action.verb, system=action.system, severity=incident.severity.severity,
        acted_before=acted_before, ladder=right.ladder, asked_at=now,
        expires_at=later(now, 60 * right.expires_minutes),
        drill=incident.drill, configuration=digest,
        runbook=active.runbooks.get(incident.archetype, plan.runbook),
    )  # fmt: skip


def _why(action: ContainmentAction, waits: str) -> str:
    return f"{action.why} It would begin without asking, but {waits}; so it waits for you." if waits else action.why


def _why_back(installation: Installation, incident: Incident, purpose: Purpose) -> str:
    """Why something is to be given back: only what the record says."""
    if purpose is Purpose.UNDO:
        return "Somebody asked for it to be undone (quell undo)."
    judged = installation.store.entries(incident.id, types=(EntryType.RECOVERY_JUDGED,))
    if judged and judged[-1].body["passed"]:
        return f"The fix passed its bar: {judged[-1].body['because']}"
    return (
        "The fix can only be tried when this works again. The harmful tools stay off meanwhile, and if the fix does not "
        "hold, this is taken away again."
    )
