"""Is this installation ready for tonight? Each question is a small function that answers in findings.

`wrong` means that something will not work when it is needed; `attention` that somebody should know before.
"""

import os
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from runbooks.domain.approval import Purpose
from runbooks.domain.bucket import is_bucket
from runbooks.domain.configuration import Configuration, Control, Person, ProofKind, Right
from runbooks.domain.containment import VERB_REVERSIBILITY, Reversibility
from runbooks.domain.errors import ConfigurationError, QuellError
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.incident import Archetype
from runbooks.domain.runbook import Runbook
from runbooks.domain.severity import Severity
from runbooks.domain.value import Json, Value
from runbooks.loader import load_book
from tasks.approval import MORE_FOR_UNPROVEN
from tasks.installation import Installation
from tasks.inventory import faults
from tasks.ledger import clock
from tasks.policy import differences
from tasks.settings import load_configuration, resolve_secret
from tasks.stores import try_bucket

_REFERENCE = re.compile(r"^(file|env):(.+)$")
_ALWAYS_THERE = frozenset({EvidenceClass.J})
"""The report itself."""


class Level(StrEnum):
    """How a question was answered."""

    OK = "ok"
    ATTENTION = "attention"
    WRONG = "wrong"


class Finding(Value):
    """One answer: what was looked at, what was found, what to do."""

    level: Level
    about: str
    found: str
    todo: str = ""


def _wrong(about: str, found: str, todo: str) -> Finding:
    return Finding(level=Level.WRONG, about=about, found=found, todo=todo)


def _attention(about: str, found: str, todo: str) -> Finding:
    return Finding(level=Level.ATTENTION, about=about, found=found, todo=todo)


def _ok(about: str, found: str) -> Finding:
    return Finding(level=Level.OK, about=about, found=found)


def check_files(installation: Installation) -> tuple[Configuration | None, list[Finding]]:
    """The configuration that the files propose, and every fault in it."""
    try:
        configuration = load_configuration(installation.settings)
    except QuellError as error:
        return None, [_wrong("configuration files", error.problem, error.next_step)]
    found = [_wrong("configuration files", fault.problem, fault.next_step) for fault in faults(configuration)]
    counted = f"{len(configuration.people)} people, {len(configuration.systems)} systems, {len(configuration.runbooks)} runbooks"
    return configuration, found or [_ok("configuration files", f"{counted}, from {installation.settings.config}")]


def check_active(installation: Installation, files: Configuration | None) -> Finding:
    """Whether what the files say is what holds."""
    about = "active configuration"
    try:
        active = installation.active()
    except ConfigurationError:
        return _attention(about, "none yet: a fresh installation", "`quell up` activates the first one")
    if files is None:
        return _attention(about, "an earlier one holds; the files are wrong", "correct the files")
    changed = differences(active, files)
    if not changed:
        return _ok(about, "it is what the files say")
    named = ", ".join(one.key for one in changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
    return _attention(
        about, f"the files say something else: {named}", "`quell policy diff`, then `quell policy activate` (or put it back)"
    )


def check_rights(configuration: Configuration, installation: Installation) -> Iterator[Finding]:
    """Every control, at every severity, can be taken away and given back by enough people with a usable proof."""
    usable = {name: _proofs(person, installation) for name, person in configuration.people.items()}
    for name, system in configuration.systems.items():
        bad = 0
        for control in system.controls:
            for purpose in (Purpose.CONTAIN, Purpose.UNDO):
                found = _right_findings(configuration, usable, name, control, purpose)
                bad += len(found)
                yield from found
        if not bad and system.controls:
            yield _ok(f"rights on {name}", f"every one of {len(system.controls)} controls has enough people, at every severity")


def _right_findings(
    configuration: Configuration, usable: dict[str, frozenset[ProofKind]], system: str, control: Control, purpose: Purpose
) -> list[Finding]:
    least = VERB_REVERSIBILITY.get(control.verb, Reversibility.R3)
    stated = control.reversibility or least
    reversibility = stated if stated.rank >= least.rank or control.verb not in VERB_REVERSIBILITY else least
    if purpose is Purpose.UNDO and reversibility is Reversibility.R3:
        return []
    short: dict[str, list[Severity]] = {}
    for severity in Severity:
        right = configuration.right_for(
            purpose=purpose, verb=control.verb, reversibility=reversibility, severity=severity, system=system
        )
        why = "no decision right matches: nobody may" if right is None else _too_few(configuration, usable, right)
        if why:
            short.setdefault(why, []).append(severity)
    what = "taking away" if purpose is Purpose.CONTAIN else "giving back"
    return [
        _wrong(
            f"rights on {system}", f"{what} {control.name} at {', '.join(severities)}: {why}",
            "add people or a right in people.toml and policy.toml",
        )
        for why, severities in short.items()
    ]  # fmt: skip


def _too_few(configuration: Configuration, usable: dict[str, frozenset[ProofKind]], right: Right) -> str:
    able = [
        name for name, person in configuration.people.items()
        if set(person.roles) & set(right.roles) and usable[name] & set(right.proofs)
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
    places = [(f"people.{name}.code_secret", p.code_secret) for name, p in configuration.people.items() if p.code_secret]
    for name, system in configuration.systems.items():
        for key, connection in system.connections.items():
            places += [(f"systems.{name}.connections.{key}.{where}", one) for where, one in _references(connection.settings)]
    found = []
    for where, reference in places:
        bad = _unreadable(reference, installation)
        if bad:
            found.append(_wrong(f"secret of {where}", bad, "put it there, readable only by quell's user (mode 0600)"))
            continue
        loose, mode = _loose(reference, installation.settings.home)
        if loose is not None:
            found.append(_wrong(f"secret of {where}", f"others may read {loose} (mode {mode:04o})", f"chmod 600 {loose}"))
    return found or [_ok("secrets", f"{len(places)} references, all readable, none by others")]


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


def check_connectors(configuration: Configuration, installation: Installation) -> Iterator[Finding]:
    """Every connector is asked whether it could work now. Changes nothing there."""
    for name, system in configuration.systems.items():
        for key, connection in system.connections.items():
            about = f"connector {name}/{key}"
            try:
                problems = installation.connector(name, key, configuration).check()
            except QuellError as error:
                problems = [error.problem]
            if problems:
                yield _wrong(about, "; ".join(problems), f"look at systems.{name}.connections.{key} ({connection.kind})")
            else:
                yield _ok(about, f"{connection.kind} answers")


def check_stores(installation: Installation) -> Iterator[Finding]:
    """The whole ledger against its own rules, and the vault by writing to it."""
    broken = installation.store.check()
    if broken:
        first = broken[0]
        yield _wrong(
            "ledger", f"{len(broken)} faults; the first at entry {first.index}: {first.what}",
            "keep this copy as it is, restore the database from a backup, and compare",
        )  # fmt: skip
    else:
        yield _ok("ledger", f"{installation.store.size()} entries, every one of them sound")
    path = installation.settings.vault_path
    try:
        installation.vault.get(installation.vault.put(b"quell check"))
    except QuellError as error:
        yield _wrong("vault", error.problem, error.next_step)
        return
    if is_bucket(path):
        yield from _locks(path, installation)
    elif os.access(path, os.W_OK):
        yield _ok("vault", f"{path} takes and gives back")
    else:
        yield _wrong("vault", f"{path} is not writable", "make it writable for quell's user")


def _locks(location: str, installation: Installation) -> Iterator[Finding]:
    """A bucket is called locked only when it refused every attempt on it just now."""
    home = installation.settings.home
    tried = try_bucket(location, installation.settings.limits.s3, lambda ref: resolve_secret(ref, home))
    todo = "evidence is not safe there: name a bucket that keeps its locks, or correct this one's settings"
    for one in tried:
        if one.needed and not one.passed:
            yield _wrong("vault's locks", f"{one.name}: {one.found}", todo)
        elif not one.passed:
            yield _attention("vault's bucket", f"{one.name}: no; {one.found}", "know it; quell works without")
    if all(one.passed for one in tried if one.needed):
        held = "; ".join(one.name for one in tried if one.needed)
        yield _ok("vault", f"{location} takes, gives back and keeps what it locks ({held})")


def check_evidence(configuration: Configuration, installation: Installation) -> Iterator[Finding]:
    """Each class that a runbook wants has a source, or is declared absent; what has neither will be a named gap."""
    for name, system in configuration.systems.items():
        has = {source.evidence_class for source in system.evidence} | set(system.absent) | _ALWAYS_THERE
        lacking: dict[str, list[str]] = {}
        for archetype, book in _books(configuration, installation).items():
            for wanted in book.evidence:
                if wanted not in has:
                    lacking.setdefault(f"{wanted} ({wanted.holds})", []).append(archetype.shown)
        for what, archetypes in lacking.items():
            yield _attention(
                f"evidence of {name}", f"no source for {what}, wanted by {', '.join(archetypes)}",
                f"add a source, or say why there is none in systems.{name}.absent",
            )  # fmt: skip
        if not lacking:
            yield _ok(f"evidence of {name}", "every class that a runbook wants has a source or is declared absent")


def _books(configuration: Configuration, installation: Installation) -> dict[Archetype, Runbook]:
    """The pinned runbooks; those of the folder where nothing was ever activated."""
    if all(installation.vault.has(digest) for digest in configuration.runbooks.values()):
        return {archetype: installation.runbook(archetype, configuration) for archetype in configuration.runbooks}
    return load_book(installation.settings.book)


def check_practice(configuration: Configuration) -> Finding:
    """Drills may touch only systems marked practice."""
    practice = [name for name, system in configuration.systems.items() if system.practice]
    if practice:
        return _ok("drills", f"may touch {', '.join(practice)}")
    return _attention("drills", "no system is marked practice", "`quell drill` brings its own; or mark one here")
