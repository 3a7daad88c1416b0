"""Ready for tonight, the part about people: enough of them may decide, each with a usable proof, and secrets are kept."""

import re
from collections.abc import Iterator
from pathlib import Path

from runbooks.domain.approval import MORE_FOR_UNPROVEN, Purpose, barred_by
from runbooks.domain.configuration import Configuration, Control, Person, ProofKind, Right
from runbooks.domain.containment import VERB_REVERSIBILITY, Reversibility
from runbooks.domain.errors import QuellError
from runbooks.domain.severity import Severity
from runbooks.domain.value import Json
from tasks.installation import Installation
from tasks.ledger import clock
from tasks.readiness import Finding, ok, pinned_books, wrong
from tasks.settings import resolve_secret

_PURPOSES = {
    Purpose.CONTAIN: "taking away", Purpose.RE_ENABLE: "giving back, once the fix holds,", Purpose.UNDO: "giving back",
}  # fmt: skip
_REFERENCE = re.compile(r"^(file|env):(.+)$")


def check_rights(configuration: Configuration, installation: Installation) -> Iterator[Finding]:
    """Every control, at every severity, can be taken away and given back by enough people with a usable proof."""
    usable = {name: _proofs(person, installation) for name, person in configuration.people.items()}
    books = pinned_books(configuration, installation).values()
    come_back = {verb for book in books for verb in (*book.recovery.lift_for_trials, *book.recovery.re_enable)}
    for name, system in configuration.systems.items():
        bad = 0
        for control in system.controls:
            after_the_fix = (Purpose.RE_ENABLE,) if control.verb in come_back else ()
            for purpose in (Purpose.CONTAIN, *after_the_fix, Purpose.UNDO):
                found = _right_findings(configuration, usable, name, control, purpose)
                bad += len(found)
                yield from found
        if not bad and system.controls:
            yield ok(
                f"rights on {name}",
                f"every one of {len(system.controls)} controls has enough people, at every severity",
            )


def _right_findings(
    configuration: Configuration,
    usable: dict[str, frozenset[ProofKind]],
    system: str,
    control: Control,
    purpose: Purpose,
) -> list[Finding]:
    least = VERB_REVERSIBILITY.get(control.verb, Reversibility.R3)
    stated = control.reversibility or least
    reversibility = stated if stated.rank >= least.rank or control.verb not in VERB_REVERSIBILITY else least
    if purpose is not Purpose.CONTAIN and reversibility is Reversibility.R3:
        return []
    short: dict[str, list[Severity]] = {}
    for severity in Severity:
        right = configuration.right_for(
            purpose=purpose, verb=control.verb, reversibility=reversibility, severity=severity, system=system
        )
        why = (
            "no decision right matches: nobody may" if right is None else _too_few(configuration, usable, right, system)
        )
        if why:
            short.setdefault(why, []).append(severity)
    what = _PURPOSES[purpose]
    return [
        wrong(
            f"rights on {system}", f"{what} {control.name} at {', '.join(severities)}: {why}",
            "add people or a right in people.toml and policy.toml",
        )
        for why, severities in short.items()
    ]  # fmt: skip


def _too_few(configuration: Configuration, usable: dict[str, frozenset[ProofKind]], right: Right, system: str) -> str:
    barred = barred_by(right, configuration, system)
    able = [
        name for name, person in configuration.people.items()
        if set(person.roles) & set(right.roles) and usable[name] & set(right.proofs) and name not in barred
    ]  # fmt: skip
    needed = right.people + MORE_FOR_UNPROVEN
    if len(able) >= needed:
        return ""
    proofs = " or ".join(right.proofs)
    return (
        f"needs {right.people} of {', '.join(right.roles)} with a proof by {proofs}, {needed} when whoever asks is unproven; "
        f"found {len(able)} ({', '.join(able) or 'nobody'})"
    )


def _proofs(person: Person, installation: Installation) -> frozenset[ProofKind]:
    now = clock()
    if (person.valid_from and now < person.valid_from) or (person.valid_until and now > person.valid_until):
        return frozenset()
    kinds = {ProofKind.SSH} if person.ssh_keys else set()
    if person.code_secret and not _unreadable(person.code_secret, installation):
        kinds.add(ProofKind.CODE)
    return frozenset(kinds)


def _unreadable(reference: str, installation: Installation) -> str:
    try:
        return "" if resolve_secret(reference, installation.settings.home) else "it is empty"
    except QuellError as error:
        return error.problem


def check_secrets(configuration: Configuration, installation: Installation) -> list[Finding]:
    """Every secret reference can be read, and nobody but quell's user can read its file."""
    places = [
        (f"people.{name}.code_secret", p.code_secret) for name, p in configuration.people.items() if p.code_secret
    ]
    for name, system in configuration.systems.items():
        for key, connection in system.connections.items():
            places += [
                (f"systems.{name}.connections.{key}.{where}", one) for where, one in _references(connection.settings)
            ]
    places += [
        (f"sources.{name}.secrets[{secret.id}]", secret.secret)
        for name, source in configuration.sources.items() for secret in source.secrets
        if secret.not_after is None or secret.not_after > clock()
    ]  # fmt: skip
    found = []
    for where, reference in places:
        bad = _unreadable(reference, installation)
        if bad:
            found.append(wrong(f"secret of {where}", bad, "put it there, readable only by quell's user (mode 0600)"))
            continue
        loose, mode = _loose(reference, installation.settings.home)
        if loose is not None:
            found.append(
                wrong(f"secret of {where}", f"others may read {loose} (mode {mode:04o})", f"chmod 600 {loose}")
            )
    return found or [ok("secrets", f"{len(places)} references, all readable, none by others")]


def _references(settings: Json, path: str = "settings") -> Iterator[tuple[str, str]]:
    if isinstance(settings, str) and _REFERENCE.match(settings):
        yield path, settings
    elif isinstance(settings, dict):
        for key, value in settings.items():
            yield from _references(value, f"{path}.{key}")
    elif isinstance(settings, list):
        for position, value in enumerate(settings):
            yield from _references(value, f"{path}[{position}]")


def _loose(reference: str, home: Path) -> tuple[Path | None, int]:
    kind, _, where = reference.partition(":")
    path = home / where  # an absolute path stays what it is
    mode = path.stat().st_mode & 0o777 if kind == "file" else 0
    return (path if mode & 0o077 else None), mode
