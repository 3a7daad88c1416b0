"""Expressions, read once and used often; and what is wrong with one, in words."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from runbooks.domain.errors import IntakeDefectError
from runbooks.domain.mapping import Expression
from runbooks.domain.sources import Source
from runbooks.domain.value import Json

ROOTS = frozenset({"body", "nested", "headers", "item"})


@lru_cache(maxsize=4096)
def _read(expression: Expression) -> Callable[[Json], Json]:
    tree = jmespath.compile(expression).parsed
    return _quick(tree) or partial(_interpreter.visit, tree)


_interpreter = TreeInterpreter()


def _quick(tree: dict[str, Any]) -> Callable[[Json], Json] | None:
    """The same as the interpreter does, for what most expressions are: fields of fields, literals, and `||` of these."""
    match tree:
        case {"type": "field", "value": name}:
            return lambda seen: seen.get(name) if isinstance(seen, dict) else None
        case {"type": "literal", "value": value}:
            return lambda _: value
        case {"type": "subexpression", "children": children}:
            steps = [_quick(child) for child in children]
            sound = [step for step in steps if step is not None]
            return _in_turn(sound) if len(sound) == len(steps) else None
        case {"type": "or_expression", "children": [left, right]}:
            first, second = _quick(left), _quick(right)
            return _either(first, second) if first and second else None
    return None


def _in_turn(steps: list[Callable[[Json], Json]]) -> Callable[[Json], Json]:
    def walk(seen: Json) -> Json:
        for step in steps:
            seen = step(seen)
        return seen

    return walk


def _either(first: Callable[[Json], Json], second: Callable[[Json], Json]) -> Callable[[Json], Json]:
    def choose(seen: Json) -> Json:
        found = first(seen)
        return found if holds(found) else second(seen)

    return choose


def pick(expression: Expression, seen: dict[str, Json], where: str) -> Json:
    """What the expression picks, None where there is nothing; IntakeDefectError where it cannot be evaluated."""
    try:
        return _read(expression)(seen)
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
        tree = jmespath.compile(expression).parsed
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
