"""Systems that quell acts upon or reads from: one file per kind, and the folder is the registry."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from runbooks.domain.errors import ConfigurationError
from runbooks.domain.instants import Instant
from runbooks.domain.reference import SecretReference
from runbooks.domain.value import Json
from tasks.connectors._collected import Collected, Facts
from tasks.connectors._signals import Place
from tasks.connectors.base import Connector

__all__ = ["Collected", "Connector", "Facts", "kinds", "open_connector", "warm"]

_REFERENCE = get_args(SecretReference)[1].pattern
_FILE = "config/systems.toml"


@cache
def kinds() -> tuple[str, ...]:
    """Every kind that there is: the files of this folder, the guard and private ones aside."""
    names = (file.stem for file in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(name for name in names if name != "base" and not name.startswith("_")))


def warm() -> None:
    """Import every kind and read what never changes, for processes that will be forked."""
    for kind in kinds():
        import_module(f"{__name__}.{kind}")
    for shared in ("_wire", "_aws"):
        import_module(f"{__name__}.{shared}").warm()


def open_connector(
    kind: str,
    name: str,
    system: str,
    settings: Mapping[str, Json],
    resolve: Callable[[str], str],
    now: Callable[[], Instant],
) -> Connector:
    """The connector `name` of `system`. Nothing is contacted and no secret is read yet.

    `settings` are those of the active configuration, unchanged: the guard compares them at every act. `resolve` turns
    a secret reference into the secret. Raises ConfigurationError that names the key.
    """
    key = f"systems.{system}.connections.{name}"
    if kind not in kinds():
        raise ConfigurationError(_FILE, f"{key}.kind", expected=f"one of {', '.join(kinds())}", found=repr(kind))
    module = import_module(f"{__name__}.{kind}")
    try:
        parsed = module.Settings.model_validate(dict(settings))
    except ValidationError as problem:
        raise _wrong(f"{key}.settings", problem) from None
    connector: Connector = module.connect(Place(kind, name, system, dict(settings), resolve, now), parsed)
    return connector


def _wrong(key: str, problem: ValidationError) -> ConfigurationError:
    """The first thing that is wrong, by key; what was found is described, never shown, since it may be a secret."""
    error = problem.errors(include_url=False, include_input=True)[0]
    parts = [str(part) for part in error["loc"]]
    where = ".".join([key, *(part for part in parts if part != "constrained-str" and "[" not in part)])
    found = f"a {type(error['input']).__name__}"
    if error["type"] == "extra_forbidden":
        return ConfigurationError(_FILE, where, expected="a key that this kind knows", found="an unknown one")
    if error["type"] == "missing":
        return ConfigurationError(_FILE, where, expected="a value", found="nothing")
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == _REFERENCE:
        return ConfigurationError(
            _FILE, where, expected="a reference, file:PATH or env:NAME", found="a secret where a reference belongs"
        )
    return ConfigurationError(_FILE, where, expected=error["msg"], found=found)
