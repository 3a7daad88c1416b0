"""Reads the book: one YAML per archetype, the only place that knows YAML."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from runbooks.domain.errors import BookError
from runbooks.domain.incident import Archetype
from runbooks.domain.runbook import Runbook

BOOK = Path(__file__).parent


def load_runbook(archetype: Archetype, book: Path = BOOK) -> Runbook:
    """The runbook of this archetype; BookError names the file and every key that is wrong."""
    file = book / f"{archetype}.yaml"
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BookError(
            f"{file.name}: expected a readable YAML runbook, found {error}.",
            now="the book was not loaded; nothing was started.",
            next_step=f"write or correct runbooks/{file.name}.",
        ) from error
    try:
        runbook = Runbook.model_validate(data)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'page'}: {e['msg']}" for e in error.errors())
        raise BookError(
            f"{file.name}: {wrong}.",
            now="the book was not loaded; nothing was started.",
            next_step=f"correct runbooks/{file.name}; runbooks/README.md explains every field.",
        ) from error
    if runbook.archetype is not archetype:
        raise BookError(
            f"{file.name}: expected archetype {archetype}, found {runbook.archetype}.",
            now="the book was not loaded; nothing was started.",
            next_step="give the file the name of its archetype.",
        )
    return runbook


def load_book(book: Path = BOOK) -> dict[Archetype, Runbook]:
    """Every runbook that stands in the folder, by archetype; a file that names no archetype is refused."""
    found: dict[Archetype, Runbook] = {}
    for file in sorted(book.glob("*.yaml")):
        if file.stem not in set(Archetype):
            raise BookError(
                f"{file.name}: expected the name of an archetype, found {file.stem}.",
                now="the book was not loaded; nothing was started.",
                next_step=f"use one of {', '.join(Archetype)}.",
            )
        found[Archetype(file.stem)] = load_runbook(Archetype(file.stem), book)
    return found
