"""Reads the book: one YAML per archetype, the only place that knows YAML."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from runbooks.domain.errors import BookError
from runbooks.domain.incident import Archetype
from runbooks.domain.runbook import Runbook

BOOK = Path(__file__).parent


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice; plain YAML would let the second silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_runbook(archetype: Archetype, book: Path = BOOK) -> Runbook:
    """The runbook of this archetype; BookError names the file and every key that is wrong."""
    file = book / f"{archetype}.yaml"
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BookError(
            f"{file.name}: expected a readable YAML runbook, found {error}.",
            now="the book was not loaded; nothing was started.",
            next_step=f"write or correct runbooks/{file.name}.",
        ) from error
    try:
        runbook = Runbook.model_validate(data)
    except BookError as error:  # an unknown standard identifier does not know which page cites it
        raise BookError(f"{file.name}: {error.problem}", now=error.now, next_step=error.next_step) from error
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
    for file in sorted([*book.glob("*.yaml"), *book.glob("*.yml")]):
        if file.stem not in set(Archetype) or file.suffix != ".yaml":
            raise BookError(
                f"{file.name}: expected the name of an archetype and the ending .yaml, found {file.name}.",
                now="the book was not loaded; nothing was started.",
                next_step=f"use one of {', '.join(Archetype)}.",
            )
        found[Archetype(file.stem)] = load_runbook(Archetype(file.stem), book)
    return found
