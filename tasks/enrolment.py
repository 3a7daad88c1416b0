"""One-time codes of people: making the secret that an authenticator app takes, and what a practice person's shows now.

Rules of `enrol`, in order:
1. The person is in people.toml, with a `code_secret` that names a file: only there can a secret be written.
2. A secret that is there stays, unless a new one is asked for: whoever has the old one in an app would be shut out.
3. It is on the disk, readable by quell's user alone, before it is shown; and it is shown once.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import pyotp

from runbooks.domain.configuration import Person
from runbooks.domain.errors import ApprovalError
from runbooks.domain.instants import moment
from tasks.installation import Installation
from tasks.ledger import clock
from tasks.one_time_codes import DIGITS, STEP_SECONDS
from tasks.settings import resolve_secret


def enrol(installation: Installation, person: str, *, again: bool = False) -> str:
    """A new secret for the person's one-time codes, as the `otpauth://` line that an app takes. ApprovalError if not made."""
    reference = _reference(installation.proposed().people, person)  # 1
    kind, _, where = reference.partition(":")
    if kind != "file":
        raise ApprovalError(
            f"the code_secret of {person} is {reference}: expected a file, which is all that can be written here.",
            now="no secret was made.", next_step="make one where that is kept, or name a file: file:secrets/NAME.code",
        )  # fmt: skip
    file = installation.settings.home / where  # an absolute path stays what it is
    if file.exists() and not again:  # 2
        raise ApprovalError(
            f"{person} has a secret already, in {file}; it is not shown again.", now="it stays as it is.",
            next_step=f"lost? quell keys enrol {person} --again makes a new one; codes of the old one count no more.",
        )  # fmt: skip
    secret = pyotp.random_base32()
    _write(file, secret)  # 3
    return str(
        pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS).provisioning_uri(
            name=person, issuer_name=f"quell {installation.id}"
        )
    )


def _write(file: Path, secret: str) -> None:
    """On the disk, whole or not at all; mode 0600."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(secret)
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(file)


@dataclass(frozen=True)
class Code:
    """What an authenticator shows, and for how many seconds more."""

    digits: str
    seconds: int


def practice_code(installation: Installation, person: str) -> Code:
    """The one-time code of a practice person, now. ApprovalError where any system is real: there only its owner has it."""
    configuration = installation.active()
    real = sorted(name for name, system in configuration.systems.items() if not system.practice)
    if real or not configuration.systems:
        found = f"{', '.join(real)} is real" if real else "no practice system"
        raise ApprovalError(
            f"codes are shown in a practice installation only: expected practice systems, found {found}.",
            now="no code was made.",
            next_step=f"{person} reads it from their own authenticator app; quell keys enrol {person} sets one up.",
        )
    generator = pyotp.TOTP(
        resolve_secret(_reference(configuration.people, person), installation.settings.home),
        digits=DIGITS, interval=STEP_SECONDS,
    )  # fmt: skip
    now = int(moment(clock()).timestamp())
    return Code(digits=generator.at(now), seconds=STEP_SECONDS - now % STEP_SECONDS)


def _reference(people: dict[str, Person], person: str) -> str:
    """Where this person's secret is."""
    if person not in people:
        raise ApprovalError(
            f"expected one of {', '.join(sorted(people)) or '(nobody is listed)'}, found {person!r:.70}.",
            now="no code and no secret was made.", next_step="name somebody who stands in config/people.toml.",
        )  # fmt: skip
    reference = people[person].code_secret
    if reference is None:
        raise ApprovalError(
            f"{person} has no code_secret in config/people.toml.", now="no code and no secret was made.",
            next_step=f'add code_secret = "file:secrets/{person}.code" there, then quell keys enrol {person}',
        )  # fmt: skip
    return reference
