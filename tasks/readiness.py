"""Is this installation ready for tonight? Each question is a small function that answers in findings.

`wrong` means that something will not work when it is needed; `attention` that somebody should know before.
"""

import os
from collections.abc import Iterator
from enum import StrEnum

from runbooks.domain.bucket import LONG_DAYS, BucketSettings, is_bucket
from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import ConfigurationError, QuellError
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.incident import Archetype
from runbooks.domain.runbook import Runbook
from runbooks.domain.value import Value
from runbooks.loader import load_book
from tasks.installation import Installation
from tasks.inventory import faults
from tasks.policy import differences
from tasks.settings import load_configuration, resolve_secret
from tasks.stores import try_bucket

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


def wrong(about: str, found: str, todo: str) -> Finding:
    """It will not work when it is needed."""
    return Finding(level=Level.WRONG, about=about, found=found, todo=todo)


def attention(about: str, found: str, todo: str) -> Finding:
    """Somebody should know before."""
    return Finding(level=Level.ATTENTION, about=about, found=found, todo=todo)


def ok(about: str, found: str) -> Finding:
    """In order."""
    return Finding(level=Level.OK, about=about, found=found)


def check_files(installation: Installation) -> tuple[Configuration | None, list[Finding]]:
    """The configuration that the files propose, and every fault in it."""
    try:
        configuration = load_configuration(installation.settings)
    except QuellError as error:
        return None, [wrong("configuration files", error.problem, error.next_step)]
    found = [wrong("configuration files", fault.problem, fault.next_step) for fault in faults(configuration)]
    counted = f"{len(configuration.people)} people, {len(configuration.systems)} systems, {len(configuration.runbooks)} runbooks"
    return configuration, found or [ok("configuration files", f"{counted}, from {installation.settings.config}")]


def check_active(installation: Installation, files: Configuration | None) -> Finding:
    """Whether what the files say is what holds."""
    about = "active configuration"
    try:
        active = installation.active()
    except ConfigurationError:
        return attention(about, "none yet: a fresh installation", "`quell up` activates the first one")
    if files is None:
        return attention(about, "an earlier one holds; the files are wrong", "correct the files")
    changed = differences(active, files)
    if not changed:
        return ok(about, "it is what the files say")
    named = ", ".join(one.key for one in changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
    return attention(
        about,
        f"the files say something else: {named}",
        "`quell policy diff`, then `quell policy activate` (or put it back)",
    )


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
                yield wrong(about, "; ".join(problems), f"look at systems.{name}.connections.{key} ({connection.kind})")
            else:
                yield ok(about, f"{connection.kind} answers")


def _strays(installation: Installation) -> Iterator[Finding]:
    for index, why in installation.signatures().strays.items():
        yield wrong(
            "activations", f"entry {index} would make another configuration active: {why}. It counts for nothing",
            "find out who could write to the ledger; `quell policy show` tells what holds",
        )  # fmt: skip


def check_stores(installation: Installation) -> Iterator[Finding]:
    """The whole ledger against its own rules, and the vault by writing to it."""
    broken = installation.store.check()
    if broken:
        first = broken[0]
        yield wrong(
            "ledger", f"{len(broken)} faults; the first at entry {first.index}: {first.what}",
            "keep this copy as it is, restore the database from a backup, and compare",
        )  # fmt: skip
    else:
        yield ok("ledger", f"{installation.store.size()} entries, every one of them sound")
        yield from _strays(installation)
    path = installation.settings.vault_path
    try:
        installation.vault.get(installation.vault.put(b"quell check"))
    except QuellError as error:
        yield wrong("vault", error.problem, error.next_step)
        return
    if is_bucket(path):
        yield from check_locks("vault", path, installation.settings.limits.s3, installation)
    elif os.access(path, os.W_OK):
        yield ok("vault", f"{path} takes and gives back")
    else:
        yield wrong("vault", f"{path} is not writable", "make it writable for quell's user")


def check_locks(
    what: str, location: str, settings: BucketSettings | None, installation: Installation
) -> Iterator[Finding]:
    """A bucket is called locked only when it refused every attempt on it just now."""
    home = installation.settings.home
    tried = try_bucket(location, settings, lambda ref: resolve_secret(ref, home))
    todo = "nothing is safe there: name a bucket that keeps its locks, or correct this one's settings"
    for one in tried:
        if one.needed and not one.passed:
            yield wrong(f"{what}'s locks", f"{one.name}: {one.found}", todo)
        elif not one.passed:
            yield attention(f"{what}'s bucket", f"{one.name}: no; {one.found}", one.todo)
    if all(one.passed for one in tried if one.needed):
        held = "; ".join(one.name for one in tried if one.needed)
        bypass = " from everybody who has no right to bypass" if settings and settings.lock == "governance" else ""
        yield ok(what, f"{location} takes, gives back and keeps what it locks{bypass} ({held})")
        if settings is not None:
            yield _lasting(what, settings)


def _lasting(what: str, settings: BucketSettings) -> Finding:
    """When locks end: a day is for trying things out, and nobody should learn it from the evidence that is gone."""
    days = f"{settings.retention_days} day{'s' * (settings.retention_days != 1)}"
    found = (
        f"each ends {days} after it was last set. The keeper extends what open incidents rest on; once an incident is "
        "closed, nothing does"
    )
    if settings.retention_days > LONG_DAYS:
        return ok(f"{what}'s locks", found)
    return attention(
        f"{what}'s locks", found,
        "if evidence must be kept for longer, set retention_days, and allow_long_retention = true beside it",
    )  # fmt: skip


def check_evidence(configuration: Configuration, installation: Installation) -> Iterator[Finding]:
    """Each class that a runbook wants has a source, or is declared absent; what has neither will be a named gap."""
    for name, system in configuration.systems.items():
        has = {source.evidence_class for source in system.evidence} | set(system.absent) | _ALWAYS_THERE
        lacking: dict[str, list[str]] = {}
        for archetype, book in pinned_books(configuration, installation).items():
            for wanted in book.evidence:
                if wanted not in has:
                    lacking.setdefault(f"{wanted} ({wanted.holds})", []).append(archetype.shown)
        for what, archetypes in lacking.items():
            yield attention(
                f"evidence of {name}", f"no source for {what}, wanted by {', '.join(archetypes)}",
                f"add a source, or say why there is none in systems.{name}.absent",
            )  # fmt: skip
        if not lacking:
            yield ok(f"evidence of {name}", "every class that a runbook wants has a source or is declared absent")


def check_trials(configuration: Configuration, installation: Installation) -> Iterator[Finding]:
    """Whether a fix can be tried: for each kind of incident after which a runbook gives back what this system has."""
    for name, system in configuration.systems.items():
        verbs = {control.verb for control in system.controls}
        untried = [
            archetype.shown for archetype, book in pinned_books(configuration, installation).items()
            if archetype not in system.trials and verbs & {*book.recovery.lift_for_trials, *book.recovery.re_enable}
        ]  # fmt: skip
        if untried:
            yield attention(
                f"trials of {name}", f"no trial for {', '.join(untried)}: whether a fix holds is not tried, nothing comes back by itself",
                f"say how an attack is replayed harmlessly, in systems.{name}.trials",
            )  # fmt: skip
        elif system.trials:
            yield ok(
                f"trials of {name}", "a fix can be tried after every kind of incident that a runbook recovers from"
            )


def pinned_books(configuration: Configuration, installation: Installation) -> dict[Archetype, Runbook]:
    """The pinned runbooks; those of the folder where nothing was ever activated."""
    if all(installation.vault.has(digest) for digest in configuration.runbooks.values()):
        return {archetype: installation.runbook(archetype, configuration) for archetype in configuration.runbooks}
    return load_book(installation.settings.book)


def check_practice(configuration: Configuration) -> Finding:
    """Drills may touch only systems marked practice."""
    practice = [name for name, system in configuration.systems.items() if system.practice]
    if practice:
        return ok("drills", f"may touch {', '.join(practice)}")
    return attention("drills", "no system is marked practice", "`quell drill` brings its own; or mark one here")
