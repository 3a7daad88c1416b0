"""Laws of the code itself: size, no swallowed errors, no code in config, one pen for the ledger, names nobody else owns."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.house.tree import Tree

MAX_LINES = 300
OURS = ("flows", "tasks", "runbooks")
PEN = "tasks/ledger.py"
CATCH_ALL = {"Exception", "BaseException"}

# Where any failure at all must be survived: file, how many such handlers, why. Everywhere else an error is named or let through.
MAY_CATCH_ALL: Mapping[str, tuple[int, str]] = {
    "flows/doors/door/reception.py": (
        1,
        "whatever a look at the configuration trips over, the door goes on, says so, and looks again",
    ),
    "flows/doors/run_endings.py": (
        1,
        "a refusal stands, whatever becomes of telling somebody of it",
    ),
    "flows/doors/warm_worker.py": (
        1,
        "a run that cannot be started must be reported, and must not take the worker with it",
    ),
    "flows/doors/worker_loops.py": (
        1,
        "Prefect's event subscriber raises bare Exception when it cannot authenticate; the poll goes on",
    ),
    "tests/bench.py": (
        1,
        "a measurement that fails is told in its place, and costs nobody the half hour of the others",
    ),
    "tasks/warming.py": (
        1,
        "what is prepared for speed must never keep anything from starting",
    ),
    "flows/doors/standby.py": (
        1,
        "one flow file that fails to import, in any way, must not keep the others from starting",
    ),
    "flows/doors/child_clients.py": (1, "warming up is only speed"),
    "tasks/intake/understanding.py": (
        2,
        "one delivery that our own reading cannot bear is kept as a visible defect and keeps nothing else waiting",
    ),
    "tasks/connectors/_signals.py": (
        1,
        "no foreign exception leaves a connector: each becomes an error that says what state the system is in",
    ),
    "tasks/stores/_vault.py": (1, "a source that breaks off is a named gap"),
    "tasks/in_time.py": (1, "what a source raises in its own thread is raised again where it is waited for"),
    "tasks/bag.py": (
        1,
        "what a hostile bundle makes its readers raise is a fault of the bundle, and the audit goes on",
    ),
    "tasks/verifier.py": (1, "the same for the small verifier: whatever it trips over does not hold"),
}


def no_long_file(tree: Tree) -> list[str]:
    """No Python file above 300 lines, whoever wrote it and whatever it holds."""
    counted = {name: len(tree.read(name).splitlines()) for name in tree.python()}
    return [
        f"{name}: {lines} lines; at most {MAX_LINES}: split it by what it does"
        for name, lines in counted.items()
        if lines > MAX_LINES
    ]


def no_code_in_config(tree: Tree) -> list[str]:
    """config/ says where; it is data, and never becomes an import."""
    wrong = [name for name in tree.files if name.startswith("config/") and not name.endswith((".toml", ".md"))]
    return [f"{name}: config holds TOML data and a README only" for name in wrong]


def _catches_all(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        return any(one is None or (isinstance(one, ast.Name) and one.id in CATCH_ALL) for one in caught)
    if isinstance(node, ast.Call):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return function == "suppress" and any(isinstance(one, ast.Name) and one.id in CATCH_ALL for one in node.args)
    return False


def no_swallowing(tree: Tree, listed: Mapping[str, tuple[int, str]] = MAY_CATCH_ALL) -> list[str]:
    """No bare `except`, `except Exception` or suppress(Exception), save where the list says why and how many."""
    breaches = []
    for name in tree.python():
        lines = [
            node.lineno
            for node in ast.walk(tree.parsed(name))
            if _catches_all(node) and isinstance(node, ast.ExceptHandler | ast.Call)
        ]
        allowed, _ = listed.get(name, (0, ""))
        if len(lines) > allowed:
            where = ", ".join(map(str, lines))
            breaches.append(
                f"{name}: catches everything at line {where}; {allowed} allowed. Name the error, or let it through"
            )
        elif len(lines) < allowed:
            breaches.append(
                f"{name}: listed for {allowed} catch-alls, has {len(lines)}; shorten the list in tests/house/code.py"
            )
    return breaches


def _appends_to_ledger(node: ast.AST) -> bool:
    """A list's append takes one positional argument; anything richer, or called on something named a ledger or a store, is the ledger's."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    if node.func.attr != "append":
        return node.func.attr == "append_all"
    receiver = ast.unparse(node.func.value).lower().removesuffix("()").rpartition(".")[2].strip("_")
    return len(node.args) > 1 or bool(node.keywords) or receiver in {"ledger", "store", "ledger_store"}


def one_pen(tree: Tree) -> list[str]:
    """Only tasks/ledger.py appends to the ledger. (The stores implement it; the contract tests try it.)"""
    return [
        f"{name}:{node.lineno}: appends to the ledger; only {PEN} does, ask it"
        for name in tree.python("flows/", "tasks/", "runbooks/", "examples/")
        if name != PEN and not name.startswith("tasks/stores/")
        for node in ast.walk(tree.parsed(name))
        if isinstance(node, ast.Call) and _appends_to_ledger(node)
    ]


def names_are_ours(owners: Mapping[str, Sequence[str]], origins: Mapping[str, Path | None], root: Path) -> list[str]:
    """No other distribution installs flows, tasks or runbooks, and importing them finds this checkout."""
    taken = [
        f"{name}: also owned by the distribution {other}; uninstall it"
        for name in OURS
        for other in owners.get(name, ())
        if other != "quell"
    ]
    stray = [
        f"{name}: imports from {origin}, expected {root / name}"
        for name, origin in origins.items()
        if origin and origin != root / name
    ]
    return taken + stray
