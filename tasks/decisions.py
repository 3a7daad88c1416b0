"""How a decision enters: one function for every door. It verifies and appends; the bell rings elsewhere and decides nothing.

Rules of `submit_decision`:
1. The statement names this installation and a request that stands in the ledger.
2. The proof is checked now, against the active configuration and the arrival time. After several wrong codes of one
   person single codes are refused for a while; a signature and two codes in a row never are, so a stranger who guesses
   shuts nobody out.
3. A withdrawal comes before the act is claimed.
4. What holds is written as `decision_recorded`, once per person, answer and key (or step of the code): whoever lost a
   key answers again with another. What does not hold is written as `decision_refused`, with the reason.
"""

import secrets

from runbooks.domain.approval import Answer, ApprovalRequest, Proof, RequestVerdict, Statement
from runbooks.domain.configuration import ProofKind
from runbooks.domain.errors import ApprovalError
from runbooks.domain.ledger import Actor, EntryType
from runbooks.domain.value import Digest
from tasks.approval import find_request, verdict_on
from tasks.installation import Installation
from tasks.ledger import Pen, person_actor
from tasks.one_time_codes import attempts_allowed, is_pair, verify_pair
from tasks.proofs import verify_code, verify_ssh
from tasks.settings import resolve_secret
from tasks.signatures import write_over


def submit_decision(
    installation: Installation, statement: Statement, *, door: Actor, signature: str = "", code: str = ""
) -> RequestVerdict:
    """Verify, append; returns how the request stands now. ApprovalError says why a decision was not accepted."""
    writer, guessing = installation.pen(door), False
    try:
        request = find_request(installation, statement.request)  # 1
        _demand_here(installation, statement)
        _demand_in_time(installation, request, statement)  # 3
        guessing = bool(code) and not signature and not is_pair(code)
        proof = _proof(installation, statement, signature, code)  # 2
    except ApprovalError as error:  # 4
        writer.write(
            EntryType.DECISION_REFUSED, f"decision-refused/{secrets.token_hex(8)}",
            incident=_incident_of(installation, statement.request),
            subject={"request": statement.request},
            body={
                "claimed_person": statement.person, "answer": statement.answer, "because": error.problem,
                "wrong_code": guessing and not isinstance(error, CodesPausedError),
            },
        )  # fmt: skip
        raise
    _record(installation, request, statement, proof, pair=is_pair(code))
    return verdict_on(installation, request)


class CodesPausedError(ApprovalError):
    """Too many wrong codes of one person; none is looked at for a while."""


def _demand_in_time(installation: Installation, request: ApprovalRequest, statement: Statement) -> None:
    if statement.answer is not Answer.WITHDRAW:
        return
    claims = installation.store.entries(request.incident, types=(EntryType.EFFECT_CLAIMED,))
    if any(entry.subject.get("request") == request.digest() for entry in claims):
        raise ApprovalError(
            f"{request.id} is being acted upon already; a withdrawal comes too late.",
            now="the act goes on, or is done.", next_step=f"give it back: quell undo {request.incident} --action {request.step}",
        )  # fmt: skip


def _demand_tries_left(installation: Installation, person: str) -> None:
    wrong = [
        entry.at for entry in installation.store.entries(types=(EntryType.DECISION_REFUSED,))
        if entry.body.get("wrong_code") and entry.body.get("claimed_person") == person
    ]  # fmt: skip
    attempts = attempts_allowed(wrong, installation.now())
    if not attempts.allowed:
        raise CodesPausedError(
            f"too many wrong one-time codes for {person}; codes are looked at again at {attempts.again_at}.",
            now="this code was not looked at; nothing was decided.",
            next_step="type two codes in a row, the one that shows now and the next one (123456 654321), or sign with "
            "an SSH key: both always work. If it was not you who tried, somebody guesses: tell your security people.",
        )


def _demand_here(installation: Installation, statement: Statement) -> None:
    if statement.installation != installation.id:
        raise ApprovalError(
            f"the decision is for the installation {statement.installation}, this is {installation.id}.",
            now="nothing was decided.", next_step="sign again with `quell approve` on this installation.",
        )  # fmt: skip


def _incident_of(installation: Installation, request: Digest) -> str | None:
    asked = installation.store.entries(types=(EntryType.APPROVAL_REQUESTED,))
    return next((entry.incident for entry in asked if entry.subject["request"] == request), None)


def _record(
    installation: Installation, request: ApprovalRequest, statement: Statement, proof: Proof, *, pair: bool
) -> None:
    by = person_actor(statement.person)
    writer = installation.pen(by)
    marks = f"{statement.person}/{statement.request}/{statement.answer}"
    if proof.kind is ProofKind.CODE:
        last = proof.time_step or 0
        for step in (last - 1, last) if pair else (last,):
            _use_up(writer, request, statement, step)
    marks += f"/{proof.key or proof.time_step}"
    write_over(
        writer, installation.signatures().fault, EntryType.DECISION_RECORDED, f"decision/{marks}", incident=request.incident,
        subject={"request": request.digest(), "action": request.action},
        body={
            "statement": statement.as_json(), "proof": proof.as_json(), "request": request.id,
            "arrived_at": installation.now(),
            "attested": "signed by the person" if proof.kind is ProofKind.SSH else "attested by quell",
        },
    )  # fmt: skip


def _use_up(writer: Pen, request: ApprovalRequest, statement: Statement, step: int) -> None:
    taken = writer.write(
        EntryType.CODE_VERIFIED, f"code/{statement.person}/{step}", incident=request.incident,
        subject={"request": request.digest()},
        body={"person": statement.person, "time_step": step, "answer": statement.answer},
    )  # fmt: skip
    if taken.subject["request"] != request.digest() or taken.body["answer"] != statement.answer:
        raise ApprovalError(
            f"this one-time code of {statement.person} was already used.",
            now="nothing was decided by it.", next_step="wait for the next code, at most 30 seconds.",
        )  # fmt: skip


def _proof(installation: Installation, statement: Statement, signature: str, code: str) -> Proof:
    person = installation.active().people.get(statement.person)
    if person is None:
        raise ApprovalError(
            f"{statement.person} is not listed among the people of the active configuration.",
            now="nothing was decided.",
            next_step="use the name in config/people.toml, or have a policy owner activate one that lists you.",
        )
    if signature:
        return verify_ssh(statement, signature, person.ssh_keys)
    if code and person.code_secret:
        if not is_pair(code):
            _demand_tries_left(installation, statement.person)
        used = [
            int(entry.body["time_step"])
            for entry in installation.store.entries(types=(EntryType.CODE_VERIFIED,))
            if entry.body["person"] == statement.person
        ]
        secret = resolve_secret(person.code_secret, installation.settings.home)
        verify = verify_pair if is_pair(code) else verify_code
        return verify(code, secret, installation.now(), used_steps=used)
    raise ApprovalError(
        f"the answer of {statement.person} came without a proof: expected a signature or a one-time code, found neither.",
        now="nothing was decided.",
        next_step="sign with `quell approve REQUEST --as PERSON --key FILE --reason TEXT`, or type the current code.",
    )


def statement_for(
    installation: Installation, request: ApprovalRequest, answer: Answer, person: str, reason: str
) -> Statement:
    """What this person signs."""
    return Statement(
        installation=installation.id, request=request.digest(), answer=answer, person=person, reason=reason
    )
