"""Does the configuration fit together beyond its own shape: kinds, settings, verbs, keys. Nothing is contacted.

`faults` finds all of them, each naming file, key, expected and found; start-up and activation raise the first.
"""

from collections.abc import Iterator
from posixpath import normpath

from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import ApprovalError, ConfigurationError
from tasks.connectors import Connector, open_connector
from tasks.ledger import clock
from tasks.proofs import fingerprint, listed_fingerprints

CONTROL = "control:"


def demand_sound(configuration: Configuration) -> None:
    """Raise the first fault, if there is one."""
    for fault in faults(configuration):
        raise fault


def faults(configuration: Configuration) -> Iterator[ConfigurationError]:
    """Every fault: people first, then policy, then the systems in order."""
    yield from _people(configuration)
    yield from _policy(configuration)
    for system in configuration.systems:
        yield from _system(configuration, system)


def _people(configuration: Configuration) -> Iterator[ConfigurationError]:
    readable = True
    for name, person in configuration.people.items():
        for position, line in enumerate(person.ssh_keys):
            try:
                fingerprint(line)
            except ApprovalError as error:
                readable = False
                yield ConfigurationError(
                    "people.toml", f"people.{name}.ssh_keys[{position}]", expected="the line of an OpenSSH .pub file",
                    found=f"something else ({error.problem})",
                )  # fmt: skip
    yield from _shared_secrets(configuration)
    if readable:
        try:
            listed_fingerprints(configuration)
        except ConfigurationError as error:
            yield error


def _shared_secrets(configuration: Configuration) -> Iterator[ConfigurationError]:
    """One secret of one-time codes must mean one person, as one key does."""
    owner: dict[str, str] = {}
    for name, person in configuration.people.items():
        kind, _, where = (person.code_secret or "").partition(":")
        reference = f"{kind}:{normpath(where) if kind == 'file' else where}"
        if person.code_secret is not None and owner.setdefault(reference, name) != name:
            yield ConfigurationError(
                "people.toml", f"people.{name}.code_secret", expected="a reference that nobody lists already",
                found=f"that of {owner[reference]}: one secret must mean one person",
            )  # fmt: skip


def _policy(configuration: Configuration) -> Iterator[ConfigurationError]:
    roles = {role for person in configuration.people.values() for role in person.roles}
    for role in configuration.policy.waiver_roles:
        if role not in roles:
            yield ConfigurationError(
                "policy.toml",
                "waiver_roles",
                expected=f"a role that somebody has ({', '.join(sorted(roles))})",
                found=role,
            )
    for owner in configuration.policy.owners:
        person = configuration.people.get(owner)
        if person is not None and not person.ssh_keys:
            yield ConfigurationError(
                "people.toml", f"people.{owner}.ssh_keys", expected="a key, because policy owners sign", found="none"
            )


def _system(configuration: Configuration, name: str) -> Iterator[ConfigurationError]:
    system = configuration.systems[name]
    opened: dict[str, Connector] = {}
    for key, connection in system.connections.items():
        try:
            connector = open_connector(connection.kind, key, name, connection.settings, _unread, clock)
        except ConfigurationError as error:
            yield error
            continue
        opened[key] = connector
        if connector.practice_only and not system.practice:
            yield ConfigurationError(
                "systems.toml", f"systems.{name}.connections.{key}.kind",
                expected="a kind for real systems, or practice = true on the system", found=connection.kind,
            )  # fmt: skip
    for control in system.controls:
        found = opened.get(control.connector)
        if found is not None and control.verb not in found.verbs:
            known = ", ".join(sorted(found.verbs)) or "none, it only reads"
            yield ConfigurationError(
                "systems.toml", f"systems.{name}.controls.{control.name}.verb",
                expected=f"a verb of {system.connections[control.connector].kind} ({known})", found=control.verb,
            )  # fmt: skip
    controls = {control.name for control in system.controls}
    for source in system.evidence:
        named = source.what.removeprefix(CONTROL)
        if source.what.startswith(CONTROL) and named not in controls:
            yield ConfigurationError(
                "systems.toml", f"systems.{name}.evidence.{source.evidence_class}.what",
                expected=f"control: and one of {', '.join(sorted(controls)) or '(none)'}", found=named,
            )  # fmt: skip


def _unread(reference: str) -> str:
    raise AssertionError(f"{reference} was read although nothing is contacted")
