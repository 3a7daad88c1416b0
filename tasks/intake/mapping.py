"""Expressions, read once and used often; and what is wrong with one, in words."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from runbooks.domain.errors import IntakeDefectError
from runbooks.domain.mapping import Expression
from runbooks.domain.sources import Source
from runbooks.domain.value import Json

ROOTS = frozenset({"body", "nested", "headers", "item"})


@lru_cache(maxsize=4096)
def _read(expression: Expression) -> Any:
    return jmespath.compile(expression)


def pick(expression: Expression, seen: dict[str, Json], where: str) -> Json:
    """What the expression picks, None where there is nothing; IntakeDefectError where it cannot be evaluated."""
    try:
        return _read(expression).search(seen)
    except (JMESPathError, RecursionError, TypeError, ValueError, OverflowError) as error:
        raise IntakeDefectError(
            f"the mapping's {where} cannot be evaluated on this delivery ({type(error).__name__})."
        ) from None


def holds(value: Json) -> bool:
    """Whether JMESPath counts a value as true: not null, false, or empty."""
    return not (value is None or value is False or (isinstance(value, str | list | dict) and not value))


def faults(source: Source) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) of each expression of a source that cannot be read, or that begins nowhere."""
    extra = {"nested": source.nested, "scope.entity": source.scope.entity}
    named = [(key, expression) for key, expression in extra.items() if expression is not None]
    for mapping in source.mappings:
        for key, expressions in mapping.expressions().items():
            named += [(f"mappings.{mapping.name}.{key}", expression) for expression in expressions]
    for key, expression in named:
        wrong = _wrong(expression)
        if wrong:
            yield key, wrong


def _wrong(expression: Expression) -> str | None:
    try:
        tree = _read(expression).parsed
    except JMESPathError as error:
        return f"{expression!r}, which is no JMESPath ({str(error).splitlines()[0]})"
    first = _first(tree)
    if first is not None and first not in ROOTS:
        return f"{expression!r}, which begins with {first}; expected {', '.join(sorted(ROOTS))} or a literal"
    return None


def _first(tree: dict[str, Any]) -> str | None:
    """The name that an expression begins with, where it begins with one."""
    while tree.get("type") in {"subexpression", "index_expression", "projection", "value_projection", "flatten",
                               "filter_projection", "pipe"}:  # fmt: skip
        tree = tree["children"][0]
    return str(tree["value"]) if tree.get("type") == "field" else None
