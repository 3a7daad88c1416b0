"""The only reader of configuration files and of the environment.

Files grant nothing by themselves: they are a proposal until a ledger entry activates them (`tasks/installation.py`).
"""

import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from runbooks.domain.approval import SYSTEM_OWNER
from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import ConfigurationError, UnreachableError
from runbooks.domain.limits import Limits
from runbooks.domain.reference import SecretReference
from runbooks.domain.sources import written_out
from runbooks.domain.tightness import nth, policy_faults
from runbooks.domain.value import Json
from runbooks.loader import BOOK, load_book
from tasks.intake.mapping import faults

ROOT = Path(__file__).resolve().parent.parent
FILES = ("people.toml", "policy.toml", "systems.toml")
"""The files that grant power, and must be there. `defaults.toml` holds only limits."""
SOURCES = "sources.toml"
"""Grants power too; an installation that nobody sends signals to has none."""
KEYWORDS = "keywords.toml"
"""Words of human reports; the installation's own file holds in place of the shipped one."""
_FILE_OF = {"rules": "sources"}
SENDERS = ROOT / "config" / "senders"
"""What vendors' webhooks look like, one file each; shipped with quell."""


class Settings(BaseModel):
    """Where this installation lives."""

    model_config = ConfigDict(frozen=True)

    home: Path
    config: Path
    book: Path = BOOK
    limits: Limits

    @property
    def ledger_url(self) -> str:
        """Where the ledger is: the configured address, or SQLite in the home."""
        return self.limits.ledger_url or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def signals(self) -> Path:
        """The file of deliveries, signals and what follows from them."""
        return self.home / "signals.db"

    @property
    def vault_path(self) -> str:
        """Where the vault is: a folder or `s3://bucket/prefix`."""
        return self.limits.vault_path or str(self.home / "vault")


def home_of(environment: Mapping[str, str] = os.environ) -> Path:
    """`$QUELL_HOME`, else `.quell` beside the project."""
    return Path(environment.get("QUELL_HOME") or ROOT / ".quell").absolute()


def interface_of(environment: Mapping[str, str] = os.environ) -> str:
    """Where people see Prefect: `PREFECT_UI_URL` as it is (behind a proxy), else the newer interface beside the API.

    Empty while no server is known.
    """
    own, api = (environment.get(name, "").rstrip("/") for name in ("PREFECT_UI_URL", "PREFECT_API_URL"))
    return own or (f"{api.removesuffix('/api')}/v2" if api else "")


def load_settings(home: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the home. Configuration is `$QUELL_CONFIG`, else `config` in the home, else the project's own."""
    where = home or home_of(environment)
    if environment.get("QUELL_CONFIG"):
        config = Path(environment["QUELL_CONFIG"]).absolute()
    else:
        config = where / "config" if (where / "config").is_dir() else ROOT / "config"
    file = config / "defaults.toml"
    try:
        limits = Limits.model_validate(_read(file) if file.exists() else {})
    except ValidationError as error:
        raise _wrong(file, error) from error
    return Settings(home=where, config=config, limits=limits)


def load_configuration(settings: Settings) -> Configuration:
    """What the files propose, checked whole; the first fault is raised with file, key, expected and found."""
    people, policy, systems = (_read(settings.config / name) for name in FILES)
    runbooks = {str(archetype): book.digest() for archetype, book in load_book(settings.book).items()}
    parts: dict[str, Json] = {
        "people": people.get("people", {}),
        "policy": policy,
        "systems": systems.get("systems", {}),
        "runbooks": runbooks,
    }
    sources = _read(settings.config / SOURCES) if (settings.config / SOURCES).exists() else {}
    parts["sources"] = {name: _source(name, stanza) for name, stanza in dict(sources.get("sources", {})).items()}
    own_words = settings.config / KEYWORDS
    words = _read(own_words if own_words.exists() else ROOT / "config" / KEYWORDS)
    parts |= {"rules": sources.get("rules", []), "keywords": words.get("keywords", [])}
    for name, data, only in (
        ("people.toml", people, ("people",)), ("systems.toml", systems, ("systems",)),
        (SOURCES, sources, ("sources", "rules")), (KEYWORDS, words, ("keywords",)),
    ):  # fmt: skip
        for key in set(data) - {*only}:
            expected = f"only the table {' or '.join(f'[{one}]' for one in only)}"
            raise ConfigurationError(name, key, expected=expected, found=f"the key {key}")
    try:
        configuration = Configuration.model_validate(parts)
    except ValidationError as error:
        part = str(_telling(error)["loc"][0])
        raise _wrong(settings.config / f"{_FILE_OF.get(part, part)}.toml", error) from error
    _check_references(configuration)
    return configuration


def _source(name: str, stanza: Json) -> Json:
    """The stanza upon the shipped one of its sender; a stanza that is none stays, to be named as such."""
    if not isinstance(stanza, dict) or "sender" not in stanza:
        return stanza
    known = {file.stem: file for file in SENDERS.glob("*.toml")}
    if stanza["sender"] not in known:
        raise ConfigurationError(
            SOURCES, f"{name}.sender", expected=_one_of(set(known)), found=repr(stanza["sender"])[:60]
        )
    return written_out(stanza, _read(known[stanza["sender"]]))


def _read(file: Path) -> dict[str, Json]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            file.name, "the file", expected=f"a readable file in {file.parent}", found="none"
        ) from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(file.name, "the file", expected="readable TOML", found=str(error)) from error


def _telling(error: ValidationError) -> Mapping[str, Json]:
    """The fault to name first: a key that nobody knows explains the one that is missing."""
    return min(map(dict, error.errors()), key=lambda one: one["type"] != "extra_forbidden")


def _wrong(file: Path, error: ValidationError) -> ConfigurationError:
    first = _telling(error)
    where = [str(step) for step in first["loc"]]
    key = ".".join(where[1:] if where and where[0] == file.stem else where) or "the file"
    found = first.get("input")
    shown = type(found).__name__ if isinstance(found, dict | list) else repr(found)[:60]
    if first["type"] == "extra_forbidden":
        return ConfigurationError(file.name, key, expected="no such key", found=f"the unknown key {where[-1]}")
    if any(word in key for word in ("secret", "token", "credential")):
        return ConfigurationError(
            file.name, key, expected="a reference: file:PATH or env:NAME", found="something else (not shown)"
        )
    if first["type"] == "missing":
        return ConfigurationError(file.name, key, expected="a value", found="nothing")
    expected = first["msg"].removeprefix("Value error, ").replace("Input should be", "").strip()
    return ConfigurationError(file.name, key, expected=expected, found=shown)


def _check_references(configuration: Configuration) -> None:
    """Names that point at other names, and what a policy may not say."""
    _check_policy(configuration)
    for fault in policy_faults(configuration.policy):
        raise ConfigurationError("policy.toml", fault.key, expected=fault.expected, found=fault.found)
    people = configuration.people
    for name, person in people.items():
        if person.deputy_for is not None:
            _check_names("people.toml", f"{name}.deputy_for", (person.deputy_for,), set(people) - {name})
    _check_systems(configuration)
    _check_sources(configuration)


def _check_sources(configuration: Configuration) -> None:
    """Systems and sources that are named, and expressions that can be read."""
    systems = configuration.systems
    for name, source in configuration.sources.items():
        scope = source.scope
        _check_names(SOURCES, f"{name}.scope.system", () if scope.system is None else (scope.system,), systems)
        _check_names(SOURCES, f"{name}.scope.systems", scope.systems.values(), systems)
        for key, wrong in faults(source):
            raise ConfigurationError(SOURCES, f"{name}.{key}", expected="a JMESPath expression", found=wrong)
    for position, rule in enumerate(configuration.rules):
        _check_names(SOURCES, f"rules[{position}].sources", rule.sources, configuration.sources)


def _check_policy(configuration: Configuration) -> None:
    people, systems, policy = configuration.people, configuration.systems, configuration.policy
    roles = {role for person in people.values() for role in person.roles}
    for position, right in enumerate(policy.rights):
        where = nth(position)
        _check_names("policy.toml", f"{where}, roles", right.roles, roles)
        _check_names("policy.toml", f"{where}, never", right.never, {*people, *roles, SYSTEM_OWNER})
        _check_names("policy.toml", f"{where}, systems", right.systems, systems)
        for number, rung in enumerate(right.ladder):
            _check_names("policy.toml", f"{where}, ladder no. {number + 1}, roles", rung.roles, right.roles)
            _check_names("policy.toml", f"{where}, ladder no. {number + 1}, channels", rung.channels, policy.channels)
    for position, glass in enumerate(policy.break_glass):
        _check_names("policy.toml", f"{nth(position, 'break_glass')}, roles", glass.roles, roles)
        _check_names("policy.toml", f"{nth(position, 'break_glass')}, systems", glass.systems, systems)
    _check_names("policy.toml", "owners", policy.owners, people)
    for rule in policy.preauthorised:
        _check_names("policy.toml", f"preauthorised.{rule.id}.systems", rule.systems, systems)
        _check_names("policy.toml", f"preauthorised.{rule.id}.sources", rule.sources, configuration.sources)
    for severity, channels in policy.opening_channels.items():
        _check_names("policy.toml", f"opening_channels.{severity}", channels, policy.channels)


def _check_systems(configuration: Configuration) -> None:
    """Leads, owners, connectors, probes, trials."""
    people, systems = configuration.people, configuration.systems
    for name, system_record in systems.items():
        for key in ("lead", "owner"):
            if getattr(system_record, key) not in people:
                raise ConfigurationError(
                    "systems.toml", f"{name}.{key}", expected=_one_of(people), found=getattr(system_record, key)
                )
        pointers = [(f"controls.{c.name}.connector", c.connector) for c in system_record.controls]
        pointers += [(f"evidence.{e.evidence_class}.connector", e.connector) for e in system_record.evidence]
        pointers += [(f"probes.{key}.connector", probe.connector) for key, probe in system_record.probes.items()]
        pointers += [(f"trials.{key}.connector", trial.connector) for key, trial in system_record.trials.items()]
        for key, connector in pointers:
            if connector not in system_record.connections:
                raise ConfigurationError(
                    "systems.toml", f"{name}.{key}", expected=_one_of(system_record.connections), found=connector
                )
        for control in system_record.controls:
            for probe in set(control.probes) - set(system_record.probes):
                raise ConfigurationError(
                    "systems.toml", f"{name}.controls.{control.name}.probes",
                    expected=_one_of(system_record.probes), found=probe,
                )  # fmt: skip


def _check_names(file: str, key: str, named: Iterable[str], known: Collection[str]) -> None:
    for name in sorted(set(named) - set(known)):
        raise ConfigurationError(file, key, expected=_one_of(set(known)), found=name)


def _one_of(names: object) -> str:
    listed = sorted(map(str, names)) if isinstance(names, set | dict) else []
    return "one of " + (", ".join(listed) or "(none is configured)")


def resolve_secret(reference: SecretReference, home: Path, environment: Mapping[str, str] = os.environ) -> str:
    """The secret behind `file:PATH` (relative to the home) or `env:NAME`; read at every use, never kept.

    UnreachableError where it cannot be had; no error holds what was read, nor any part of it.
    """
    kind, _, where = reference.partition(":")
    if kind == "env" and where not in environment:
        raise UnreachableError(
            f"the secret reference {reference} names an environment variable that is not set.",
            now="nothing was sent.", next_step=f"set {where} for the process that runs this.",
        )  # fmt: skip
    try:
        if kind == "file":
            return (home / where).read_text(encoding="utf-8").strip()  # an absolute path stays what it is
        environment[where].encode()
        return environment[where]
    except OSError as error:
        cause = error.strerror or type(error).__name__
    except UnicodeError:  # it holds what was read, so it goes no further
        cause = "it is not UTF-8 text"
    except ValueError:
        cause = "the path is none"
    raise UnreachableError(
        f"the secret reference {reference} cannot be read: {cause}.", now="nothing was sent.",
        next_step="put the secret there as text (random bytes as hex or base64), readable only by quell's user (mode 0600).",
    )  # fmt: skip
