"""How a person proves to be that person: an OpenSSH signature over the statement, or a one-time code.

The signature is the strong proof: made with the key that people already have (hardware keys included), and anybody can
check it later with `ssh-keygen -Y verify` and the allowed signers that `allowed_signers` writes. A code (RFC 6238) only
quell can attest. Pure but for `sign_ssh`, which runs the real ssh-keygen on the machine of the person who signs.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from runbooks.domain.approval import DECISION_NAMESPACE, Proof, Statement
from runbooks.domain.configuration import Configuration, ProofKind
from runbooks.domain.errors import ApprovalError, ConfigurationError
from runbooks.domain.instants import Instant, moment
from runbooks.domain.signed import NAMESPACES
from tasks.one_time_codes import AttemptRule, Attempts, attempts_allowed, verify_code
from tasks.sshsig import BadSignatureError, PublicKey, SshFormatError, read_key, read_signature, verify

__all__ = [
    "AttemptRule",
    "Attempts",
    "allowed_signers",
    "attempts_allowed",
    "fingerprint",
    "listed_fingerprints",
    "sign_bytes",
    "sign_ssh",
    "verify_bytes",
    "verify_code",
    "verify_ssh",
]

_NOT_RECORDED = "nothing was accepted; everything stands as before."


def _sign_again(namespace: str) -> str:
    how = "`quell approve` (or deny)" if namespace == DECISION_NAMESPACE else "the same command"
    return f"sign it again with {how}, or `ssh-keygen -Y sign -n {namespace} -f KEY FILE`"


def _refused(problem: str, next_step: str) -> ApprovalError:
    return ApprovalError(problem, now=_NOT_RECORDED, next_step=next_step)


def verify_ssh(statement: Statement, armored: str, listed_keys: Iterable[str]) -> Proof:
    """The proof that one of this person's listed keys signed exactly this statement; ApprovalError if not.

    `listed_keys` are the public key lines of `statement.person` and of nobody else.
    """
    return verify_bytes(statement.canonical(), armored, listed_keys, person=statement.person)


def verify_bytes(
    message: bytes, armored: str, listed_keys: Iterable[str], *, person: str, namespace: str = DECISION_NAMESPACE
) -> Proof:
    """The same for any message, in its own namespace.

    A listed line that cannot be read is passed over: it can match nothing. The proof holds the armor in its one
    canonical form.
    """
    try:
        signature = read_signature(armored)
    except SshFormatError as error:
        raise _refused(
            f"this is not an OpenSSH signature that quell can read: {error}.", f"{_sign_again(namespace)}."
        ) from error
    if signature.namespace != namespace.encode():
        found = ascii(signature.namespace[:40].decode("latin-1"))
        raise _refused(
            f"expected a signature in the namespace {namespace}, found {found}: it was made for something else.",
            f"{_sign_again(namespace)}; the namespace is what follows -n.",
        )
    keys: list[PublicKey] = []
    unreadable: list[str] = []
    for line in listed_keys:
        try:
            keys.append(read_key(line))
        except SshFormatError as error:
            unreadable.append(str(error))
    key = next((key for key in keys if key.blob == signature.key), None)
    if key is None:
        listed = ", ".join(key.fingerprint for key in keys) or "none"
        also = f" ({len(unreadable)} listed lines cannot be read: {unreadable[0]})" if unreadable else ""
        raise _refused(
            f"the signature is by the key {signature.fingerprint}; listed for {person}: {listed}{also}.",
            f"sign with a listed key (`ssh-keygen -lf KEY.pub` shows its fingerprint), or have this one listed for "
            f"{person}; a key that is added now counts for requests that are asked after it was activated.",
        )
    try:
        verify(signature, key, message)
    except BadSignatureError as error:
        raise _refused(
            f"the signature by {key.fingerprint} does not hold: {error}.",
            f"{_sign_again(namespace)}: every word must be the one that was signed (answer, person, reason, request).",
        ) from error
    except SshFormatError as error:
        raise _refused(
            f"the signature by {key.fingerprint} is refused: {error}.",
            f"{_sign_again(namespace)} with OpenSSH 8.2 or newer.",
        ) from error
    return Proof(kind=ProofKind.SSH, key=key.fingerprint, signature=signature.armored)


def fingerprint(line: str) -> str:
    """`SHA256:…` of a public key line, as `ssh-keygen -l` prints it; ApprovalError for a line that may not be listed."""
    try:
        return read_key(line).fingerprint
    except SshFormatError as error:
        raise ApprovalError(
            f"the public key line cannot be used: {error}.",
            now="nothing was changed.",
            next_step="give the one line of the `.pub` file; `ssh-keygen -t ed25519` makes a new key.",
        ) from error


def _listed(configuration: Configuration) -> list[tuple[str, str, PublicKey]]:
    """(person, line as listed, key) of every listed key; ConfigurationError for an unreadable or a shared one."""
    found: list[tuple[str, str, PublicKey]] = []
    owner: dict[str, str] = {}
    for name, person in sorted(configuration.people.items()):
        for position, line in enumerate(person.ssh_keys):
            where = f"people.{name}.ssh_keys[{position}]"
            try:
                key = read_key(line)
            except SshFormatError as error:
                raise ConfigurationError(
                    "people.toml", where, expected="a usable public key", found=f"{error}"
                ) from error
            if key.fingerprint in owner:
                raise ConfigurationError(
                    "people.toml", where, expected="a key that nobody lists already",
                    found=f"{key.fingerprint}, listed for {owner[key.fingerprint]} too: one key must mean one person",
                )  # fmt: skip
            owner[key.fingerprint] = name
            found.append((name, line, key))
    return found


def listed_fingerprints(configuration: Configuration) -> dict[str, str]:
    """Fingerprint to key line of everybody's keys, as `judge_request` wants it; a key listed twice is refused."""
    return {key.fingerprint: line for _, line, key in _listed(configuration)}


def _utc(instant: Instant) -> str:
    return f"{moment(instant):%Y%m%d%H%M%S}Z"


def allowed_signers(configuration: Configuration) -> str:
    """OpenSSH's allowed_signers text (ssh-keygen(1)): who may decide with which key, and between which times.

    The Z of the times needs OpenSSH 9.1; they are cut to whole seconds. Comments of key lines are left out.
    """
    lines = []
    for name, _, key in _listed(configuration):
        person = configuration.people[name]
        options = [f'namespaces="{",".join(NAMESPACES)}"']
        if person.valid_from is not None:
            options.append(f'valid-after="{_utc(person.valid_from)}"')
        if person.valid_until is not None:
            options.append(f'valid-before="{_utc(person.valid_until)}"')
        lines.append(f"{name} {','.join(options)} {key.line}\n")
    return "".join(lines)


def sign_ssh(statement: Statement, key_file: Path | None, *, agent: bool = False, public_key: str | None = None) -> str:
    """The armored signature over the statement; see `sign_bytes`."""
    return sign_bytes(statement.canonical(), key_file, agent=agent, public_key=public_key)


def sign_bytes(
    message: bytes, key_file: Path | None, *, agent: bool = False, public_key: str | None = None,
    namespace: str = DECISION_NAMESPACE,
) -> str:  # fmt: skip
    """The armored signature over a message, made by the real ssh-keygen with a key file or the running ssh-agent.

    With `agent` the key is named by `public_key` (its line) or by `key_file` (its `.pub` file). Passphrase and touch
    prompts go to the person's terminal; ssh-keygen's own words go to standard error; no key material passes through here.
    """
    program = shutil.which("ssh-keygen")
    if program is None:
        raise _refused(
            "expected the program ssh-keygen on the PATH, found none.",
            "install the OpenSSH client, 8.2 or newer (the package is often called openssh-client), and try again.",
        )
    if (key_file is None) == (public_key is None) or (public_key is not None and not agent):
        raise _refused(
            "expected one key: a key file, or the public key line of a key that the ssh-agent holds.",
            "give --key FILE; with a key in the agent give its .pub file.",
        )
    with tempfile.TemporaryDirectory(prefix="quell-sign-") as private:
        file, key = Path(private) / "statement", key_file
        file.write_bytes(message)
        if public_key is not None:
            key = Path(private) / "key.pub"
            key.write_text(read_key_line(public_key), encoding="ascii")
        command = [program, "-q", "-Y", "sign", *(("-U",) if agent else ()), "-n", namespace, "-f", str(key)]
        try:
            subprocess.run([*command, str(file)], stdout=subprocess.DEVNULL, check=True)
            return (Path(private) / "statement.sig").read_text(encoding="ascii")
        except (OSError, subprocess.CalledProcessError, UnicodeDecodeError) as error:
            held = "is the key in the agent (`ssh-add -l`)?" if agent else f"is {key} the private key, readable by you?"
            raise _refused(
                f"ssh-keygen made no signature; what it said is above ({type(error).__name__}).",
                f"{held} Try by hand: ssh-keygen -Y sign -n {namespace} -f {key_file or 'KEY.pub'} FILE.",
            ) from error


def read_key_line(line: str) -> str:
    """The line reduced to type and base64, with a line end; ApprovalError when it is no key."""
    fingerprint(line)
    return read_key(line).line + "\n"
