"""Attacks on people, proofs and statements. The same function takes what comes by CLI and by form."""

import contextlib
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

import tasks.installation
from runbooks.domain.approval import Answer, Standing
from runbooks.domain.errors import ApprovalError
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from tasks.approval import verdict_on
from tasks.proofs import sign_bytes, sign_ssh
from tasks.sshsig import read_signature
from tests.attacks.ground import Ground, until
from tests.attacks.table import ALONE, attack
from tests.steps.openssh import armor, string


@attack("Approve as the requester", "recorded, does not count", EntryType.DECISION_RECORDED)
def requester(g: Ground) -> str:
    incident = g.declare("ana")
    request = g.request(incident)
    g.submit(g.say(request, "ana"))
    return g.does_not_count(request, "ana")


@attack(
    "Approve as a requester who typed another name",
    "one person more is asked, so alone it is no yes",
    EntryType.DECISION_RECORDED,
)
def typed_name(g: Ground) -> str:
    incident = g.declare("somebody-else")
    request = g.request(incident)
    verdict = g.submit(g.say(request, "ana"))
    assert (verdict.standing, verdict.still_needed) == (Standing.WAITING, 1)
    return verdict.because


@attack("The same person with two keys, twice", "one person counts once", EntryType.DECISION_RECORDED)
def two_keys(g: Ground) -> str:
    request = g.request(g.declare())
    g.submit(g.say(request, "ana"))
    verdict = g.submit(g.say(request, "ana", reason="again"), key="ana2")
    assert (verdict.approvers, verdict.standing) == (("ana",), Standing.WAITING)
    return "; ".join(verdict.not_counted) or f"still {verdict.because}"


@attack("The same person under a second name (no such name is listed)", "refused", EntryType.DECISION_REFUSED)
def second_name(g: Ground) -> str:
    return g.refused(lambda: g.submit(g.say(g.request(g.waiting), "ana-private"), key="ana"), g.waiting)


@attack("A deputy when the principal has answered", "one voice counts once", EntryType.DECISION_RECORDED)
def deputy(g: Ground) -> str:
    request = g.request(g.declare())
    g.submit(g.say(request, "cleo"))
    verdict = g.submit(g.say(request, "emil"))
    assert (verdict.approvers, verdict.standing) == (("cleo",), Standing.WAITING)
    return g.does_not_count(request, "emil")


@attack("A second, other answer of the same person", "changes nothing", EntryType.DECISION_RECORDED)
def second_answer(g: Ground) -> str:
    request = g.request(g.declare())
    g.submit(g.say(request, "ana", Answer.DENY))
    verdict = g.submit(g.say(request, "ana"))
    assert verdict.standing is Standing.DENIED
    return verdict.because


@attack("Replay a decision on another request", "refused: the signature covers the digest", EntryType.DECISION_REFUSED)
def other_request(g: Ground) -> str:
    first, second = g.request(g.waiting), g.request(g.waiting, "system-prompt")
    signature = sign_ssh(g.say(first, "ana"), g.key("ana"))
    return g.refused(lambda: g.submit(g.say(second, "ana"), signature=signature), g.waiting)


@attack("Replay a decision in another incident", "refused", EntryType.DECISION_REFUSED)
def other_incident(g: Ground) -> str:
    other = g.declare()
    signature = sign_ssh(g.say(g.request(g.waiting), "ana"), g.key("ana"))
    return g.refused(lambda: g.submit(g.say(g.request(other), "ana"), signature=signature), other)


@attack("Replay a decision made for another installation", "refused", EntryType.DECISION_REFUSED)
def other_installation(g: Ground) -> str:
    said = g.say(g.request(g.waiting), "ana", installation="quell-000000000000")
    return g.refused(lambda: g.submit(said), g.waiting)


@attack(
    "Replay a drill's decision on the same act in earnest",
    "refused: the drill mark is in the digest",
    EntryType.DECISION_REFUSED,
)
def from_a_drill(g: Ground) -> str:
    """The same request stands in the record twice, as a drill's and in earnest; nothing else differs."""
    incident = g.declare()
    drill = g.request(incident)
    earnest = drill.model_copy(update={"drill": False})
    g.asked(earnest)
    signature = sign_ssh(g.say(drill, "ana"), g.key("ana"))
    reason = g.refused(lambda: g.submit(g.say(earnest, "ana"), signature=signature), incident)
    assert "ana" not in verdict_on(g.installation, earnest).approvers
    assert g.submit(g.say(drill, "ana"), signature=signature).approvers == ("ana",), "it was good for the drill"
    assert "ana" not in verdict_on(g.installation, earnest).approvers
    return re.sub("SHA256:[^ ,;.]*", "…", reason)


@attack(
    "Decide after the expiry, also with the clock set back",
    "expired stays expired",
    EntryType.REQUEST_EXPIRED,
    lane=ALONE,
)
def after_expiry(g: Ground) -> str:
    old = g.request(g.waiting)
    soon = old.model_copy(update={"id": "REQ-LATE0001", "nonce": "late", "expires_at": later(g.installation.now(), 2)})
    g.asked(soon)
    until(
        lambda: [e for e in g.entries(g.waiting, EntryType.REQUEST_EXPIRED) if e.subject["request"] == soon.digest()],
        "the keeper expires it", 120,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        back = later(soon.asked_at, 1)
        for module in (tasks.installation, tasks.ledger):
            patch.setattr(module, "clock", lambda: back)
        for person in ("ana", "cleo", "ben"):
            verdict = g.submit(g.say(soon, person))
        assert verdict.standing is Standing.EXPIRED
        assert verdict_on(g.installation, soon).approvers == ()
    return g.does_not_count(soon, "ana")


@attack("A signature in another namespace", "refused", EntryType.DECISION_REFUSED)
def namespace(g: Ground) -> str:
    said = g.say(g.request(g.waiting), "ana")
    return g.refused(
        lambda: g.submit(said, signature=sign_bytes(said.canonical(), g.key("ana"), namespace="quell-waiver"))
    )


@attack("A signature over another answer", "refused", EntryType.DECISION_REFUSED)
def another_digest(g: Ground) -> str:
    request = g.request(g.waiting)
    signature = sign_ssh(g.say(request, "ana", Answer.DENY), g.key("ana"))
    return g.refused(lambda: g.submit(g.say(request, "ana"), signature=signature))


@attack("A signature by an unknown key, and by another person's", "refused", EntryType.DECISION_REFUSED)
def unknown_key(g: Ground) -> str:
    said = g.say(g.request(g.waiting), "ana")
    g.refused(lambda: g.submit(said, key="ben"))
    return re.sub("SHA256:[^ ,;.]*", "…", g.refused(lambda: g.submit(said, key="emil")))


@attack("A signature by a listed RSA key with SHA-1", "refused", EntryType.DECISION_REFUSED)
def sha1(g: Ground) -> str:
    said = g.say(g.request(g.waiting), "ana")
    honest = read_signature(sign_ssh(said, g.key("rsa")))
    private = load_ssh_private_key(g.key("rsa").read_bytes(), None)
    import hashlib

    covered = (
        b"SSHSIG"
        + string(b"quell-decision")
        + string(b"")
        + string(b"sha512")
        + string(hashlib.sha512(said.canonical()).digest())
    )
    raw = private.sign(covered, padding.PKCS1v15(), SHA1())  # type: ignore[call-arg, arg-type] # noqa: S303 - to be refused
    blob = b"SSHSIG\x00\x00\x00\x01" + string(honest.key) + string(b"quell-decision") + string(b"") + string(b"sha512")
    forged = armor(blob + string(string(b"ssh-rsa") + string(raw)))
    return re.sub("SHA256:[^ ,;.]*", "…", g.refused(lambda: g.submit(said, signature=forged)))


@attack("A one-time code twice", "the second time refused", EntryType.DECISION_REFUSED)
def code_twice(g: Ground) -> str:
    incident = g.declare()
    first, second = g.request(incident), g.request(incident, "system-prompt")
    code = g.code("ben")
    g.submit(g.say(first, "ben"), code=code)
    return g.refused(lambda: g.submit(g.say(second, "ben"), code=code), incident)


@attack(
    "Guess one-time codes", "paused after five; a signature of the same person still counts", EntryType.DECISION_REFUSED
)
def brute_force(g: Ground) -> str:
    incident = g.declare()
    request = g.request(incident)
    for number in range(40):
        with contextlib.suppress(ApprovalError):
            g.submit(g.say(request, "cleo"), code=f"{number:06d}")
    assert "cleo" not in verdict_on(g.installation, request).approvers
    reason = g.refused(lambda: g.submit(g.say(request, "cleo"), code=g.code("cleo")), incident)
    assert g.submit(g.say(request, "cleo")).approvers == ("cleo",)
    return re.sub(r"at \d{4}.*", "later", reason)
