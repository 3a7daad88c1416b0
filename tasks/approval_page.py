"""What people read before they answer: every open request, how it stands, and how each of them is answered.

How one answers is worded from the proofs that each request takes: a one-time code that cannot count is not asked for.
"""

from runbooks.domain.approval import DECISION_NAMESPACE, ApprovalRequest, Purpose
from runbooks.domain.configuration import ProofKind
from runbooks.domain.errors import QuellError
from runbooks.domain.evidence import Manifest
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from runbooks.domain.value import short
from tasks.approval import eligible, verdict_on
from tasks.installation import Installation
from tasks.pages import clean, counted, utc


def approval_pages(
    installation: Installation, incident_id: str, requests: list[ApprovalRequest], last_answer: str
) -> tuple[str, str]:
    """What a person needs to decide, for every open request, and how to answer: on a page, and above the form.

    The form is narrow: no tables, no commands.
    """
    asked, proof = _approval(installation, incident_id, requests, last_answer), _proof(requests)
    page = asked + (
        "\n### How to answer\n"
        "**Here:** open this run, press **⋮** at the top right, then **Resume** (older interface: the button "
        f"**Resume**). Choose the request, yourself, approve or deny; give a reason and {proof}.\n\n"
        f"{_commands(requests)}\n"
        "(`quell deny` to say no.) "
        "If nobody answers, the request expires and nothing is done. Resuming without an answer changes nothing.\n"
    )
    again = " with the next one-time code" if any(takes_code(request) for request in requests) else ""
    signing = (
        f" The commands that make a signature stand on the page *approval-{incident_id.lower()}* of this run."
        if any(takes_signature(request) for request in requests)
        else ""
    )
    form = asked + (
        f"\n**How to answer:** fill in 1 to 4 below, and {proof}; then press **Resume** (older interface: **Submit**)."
        f"{signing} One answer is for one request; for the next one, Resume again{again}. Without an answer nothing "
        "changes.\n"
    )
    return page, form


def takes_code(request: ApprovalRequest) -> bool:
    """Whether a one-time code counts for it."""
    return ProofKind.CODE in request.proofs


def takes_signature(request: ApprovalRequest) -> bool:
    """Whether an SSH signature counts for it."""
    return ProofKind.SSH in request.proofs


def _proof(requests: list[ApprovalRequest]) -> str:
    """What proves an answer, in words; by request where they differ."""
    words = {request.id: _proof_of(request) for request in requests}
    if len(set(words.values())) == 1:
        return words[requests[0].id]
    return "your proof: " + "; ".join(f"for {name} {word}" for name, word in words.items())


def _proof_of(request: ApprovalRequest) -> str:
    if not takes_code(request):
        return "your SSH signature (a one-time code does not count)"
    return "your one-time code" + (" or your SSH signature" if takes_signature(request) else "")


def _commands(requests: list[ApprovalRequest]) -> str:
    """The exact commands, by request: to answer in a terminal, and to sign what is pasted into the form."""
    coded = [request for request in requests if not takes_signature(request)]
    signed = [request for request in requests if takes_signature(request)]
    text = ""
    if coded:
        lines = "".join(f'    quell approve {r.id} --as YOU --code 123456 --reason "WHY"\n' for r in coded)
        text += f"**In a terminal**, with your one-time code:\n\n{lines}\n"
    if signed:
        lines = "".join(
            f'    quell approve {r.id} --as YOU \\\n      --key ~/.ssh/id_ed25519 --reason "WHY"\n' for r in signed
        )
        text += f"**In a terminal**, with your own SSH key:\n\n{lines}\n"
        text += (
            "**Signed there, pasted here:** print what is to be signed, and sign it. Then press Resume as above, and "
            "paste everything that `cat statement.sig` shows into the last field of the form, the one for an SSH "
            "signature. Request, name, answer and reason must be the same in the command and in the form, else the "
            "signature does not hold.\n\n"
        )
        text += "\n".join(_printing(request) for request in signed)
    return text


def _printing(request: ApprovalRequest) -> str:
    return (
        f'    quell approve {request.id} --as YOU --reason "WHY" \\\n      --print-statement > statement\n'
        f"    ssh-keygen -Y sign -n {DECISION_NAMESPACE} -f ~/.ssh/id_ed25519 statement\n"
    )


def evidence_of(installation: Installation, request: ApprovalRequest) -> str:
    """Which evidence was sealed before this was asked for, and its gaps, in one line."""
    if request.manifest is None:
        return "WAIVED, not sealed"
    try:
        manifest = Manifest.from_bytes(installation.vault.get(request.manifest))
    except QuellError:  # whoever has to answer sees the rest all the same
        return f"the manifest {short(request.manifest)} cannot be read now"
    return f"{manifest.in_one_line}; manifest {short(request.manifest)}"


def steps_taken(installation: Installation, request: ApprovalRequest) -> str:
    """Who was told of it so far, and when the next are; empty when its right has no ladder."""
    if not request.ladder:
        return ""
    entries = installation.store.entries(request.incident, types=(EntryType.REQUEST_ESCALATED,))
    taken = {int(e.body["rung"]): e for e in entries if e.subject["request"] == request.digest()}
    told = [f"{', '.join(e.body['people']) or 'nobody who is listed'} ({utc(e.at)})" for _, e in sorted(taken.items())]
    later_on = [rung.after_minutes for number, rung in enumerate(request.ladder) if number not in taken]
    more = (
        f"; the next at {utc(later(request.asked_at, 60 * min(later_on)))}" if later_on else "; that was the last step"
    )
    return ("; then ".join(told) or "nobody yet") + more


def _approval(
    installation: Installation, incident_id: str, requests: list[ApprovalRequest], last_answer: str
) -> str:  # fmt: skip
    incident = installation.incident(incident_id)
    last = f"**The last answer:** {clean(last_answer, 1000)}\n\n" if last_answer else ""
    whats = "; ".join(clean(request.what) for request in requests)
    head = (
        f"{'**DRILL** (practice systems only). ' if incident.drill else ''}"
        f"**{counted(len(requests), 'decision')} needed:** {whats}. Scroll this text for why, and what it breaks.\n\n"
        f"{last}{incident.id}, {incident.archetype.shown} on {incident.system}, **{incident.severity.severity}**, "
        f"lead {incident.lead}\n\n"
    )
    return head + "\n".join(_one_request(installation, request) for request in requests)


def _one_request(installation: Installation, request: ApprovalRequest) -> str:
    verdict = verdict_on(installation, request)
    open_to = [name for name in eligible(installation, request) if name not in verdict.approvers]
    proofs = " or ".join("an SSH signature" if p == "ssh" else "a one-time code" for p in request.proofs)
    evidence = evidence_of(installation, request)
    nothing = "nothing is done" if request.purpose is Purpose.CONTAIN else "nothing is given back"
    lines = [
        ("What will be done", f"{clean(request.what)}: {clean(request.target)}"),
        ("Why", clean(request.why, 600)),
        ("What it breaks", clean(request.blast_radius)),
        ("Undo", f"{request.reversibility.meaning}. {clean(request.undo)}"),
        ("Evidence", evidence if request.manifest else f"**{evidence}**"),
        ("Asked for by", f"{clean(request.requester.name)}" + ("" if request.requester.proven else _UNPROVEN)),
        ("Answered so far", ", ".join(f"{name} approved" for name in verdict.approvers) or "nobody yet"),
        ("Did not count", "; ".join(clean(one) for one in verdict.not_counted)),
        ("Still needed", f"{clean(verdict.because.removeprefix('needs '))}; each proves it with {proofs}"),
        ("Who can", ", ".join(open_to) or "**nobody who is listed**"),
        ("Told", steps_taken(installation, request)),
        ("If nobody answers", f"it expires {utc(request.expires_at)}; {nothing}"),
        ("Digest", f"`{short(request.digest())}` (what an answer is bound to)"),
    ]
    return f"#### {request.id}: {clean(request.what)}\n\n" + "".join(f"- **{k}:** {v}\n" for k, v in lines if v)


_UNPROVEN = " (unproven, so one person more must approve)"
