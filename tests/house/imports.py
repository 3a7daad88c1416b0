"""Who may import whom: flows > tasks > runbooks > config, downwards only. The table is the law; the code below only reads it."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.house.tree import ROOMS, Import, Tree

ANY = ("*",)
STORE_CLIENTS = ("boto3", "botocore", "sqlalchemy", "psycopg", "sqlite3")
NET_CLIENTS = ("httpx", "requests", "urllib3", "aiohttp", "openfeature", "authlib", "grpc", "redis", "docker", "kubernetes",
               "urllib.request", "http.client", "smtplib", "imaplib", "ftplib")  # fmt: skip
IMPURE = ("time", "random", "secrets", "os", "socket", "ssl", "subprocess", "tempfile", "threading", "asyncio", "urllib.request", "http.client",
          "sqlite3", "getpass")  # fmt: skip
YAML = ("yaml", "ruamel")


@dataclass(frozen=True)
class Room:
    """`ours`: our modules that may be imported, a trailing dot meaning everything below. `others`: other people's. `never`: refused all the same."""

    where: str
    ours: tuple[str, ...]
    others: tuple[str, ...]
    never: tuple[str, ...] = ()


LAW = (  # the first that fits
    Room("runbooks/domain/", ("runbooks.domain", "runbooks.domain."), ("pydantic",), IMPURE),
    Room("runbooks/loader.py", ("runbooks.domain", "runbooks.domain."), ("pydantic", "yaml")),
    Room("runbooks/", ("runbooks", "runbooks."), ("pydantic",)),
    Room(
        "tasks/connectors/__init__.py",
        ("runbooks.domain", "runbooks.domain.", "tasks.connectors."),
        ANY,
        ("prefect", *YAML),
    ),  # the registry
    Room(
        "tasks/stores/__init__.py", ("runbooks.domain", "runbooks.domain.", "tasks.stores."), ANY, ("prefect", *YAML)
    ),  # the registry
    Room(
        "tasks/connectors/",
        ("runbooks.domain", "runbooks.domain.", "tasks.connectors.base", "tasks.connectors._"),
        ANY,
        ("prefect", *YAML),
    ),
    Room(
        "tasks/stores/",
        ("runbooks.domain", "runbooks.domain.", "tasks.stores.base", "tasks.stores._"),
        ANY,
        ("prefect", *YAML),
    ),
    Room(
        "tasks/settings.py", ("runbooks", "runbooks.", "tasks.intake.mapping"), ("pydantic",)
    ),  # runbooks, and how signals are read, are part of the active configuration
    Room(
        "tasks/engine.py",  # talks to Prefect through Prefect's client, which raises this library's errors
        ("runbooks", "runbooks."),
        ANY,
        (*STORE_CLIENTS, *(name for name in NET_CLIENTS if name != "httpx"), *YAML),
    ),
    Room(
        "tasks/intake/",  # from a delivery to an incident: knows no engine, so that any of it replays without one
        (
            "runbooks",
            "runbooks.",
            "tasks",
            "tasks.*",
            "tasks.intake.",
            "tasks.stores",
            "tasks.stores.base",
        ),
        ANY,
        ("prefect", *STORE_CLIENTS, *NET_CLIENTS, *YAML),
    ),
    Room(
        "tasks/",
        (
            "runbooks",
            "runbooks.",
            "tasks",
            "tasks.*",
            "tasks.intake.",
            "tasks.connectors",
            "tasks.connectors.base",
            "tasks.stores",
            "tasks.stores.base",
        ),
        ANY,
        (*STORE_CLIENTS, *NET_CLIENTS, *YAML),
    ),
    Room("flows/doors/engine_process.py", (), ("prefect", "sqlalchemy")),  # how Prefect's server begins
    Room(
        "flows/doors/listing.py", ("flows", "flows."), ("yaml",)
    ),  # reads prefect.yaml, which is Prefect's file and not a page of the book
    Room(
        "flows/doors/",
        ("flows", "flows.", "tasks", "tasks.*", "tasks.intake.", "runbooks", "runbooks.", "examples", "examples."),
        ANY,
        (*STORE_CLIENTS, *YAML),
    ),
    Room(
        "flows/",
        ("flows", "flows.*", "tasks", "tasks.*", "runbooks", "runbooks."),
        ("prefect", "pydantic"),
        (*STORE_CLIENTS, *NET_CLIENTS, "socket"),
    ),
)


def _within(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def _ours_allowed(module: str, allowed: tuple[str, ...]) -> bool:
    """`a` is a itself; `a.` all below; `a.*` what stands directly below, save the rooms with a law of their own; `a._` its private parts."""
    for name in allowed:
        if name.endswith(".*"):
            head, _, last = module.rpartition(".")
            if (
                head == name[:-2]
                and module not in {"flows.doors", "tasks.connectors", "tasks.intake", "tasks.stores"}
                and last
            ):
                return True
        elif module == name or (name.endswith((".", "._")) and module.startswith(name)):
            return True
    return False


def _target(tree: Tree, found: Import) -> str:
    """The module that an import really loads: `from tasks.connectors import aws_iam` loads tasks.connectors.aws_iam."""
    return found.full if found.name and tree.is_module(found.full) else found.module


def _judge(tree: Tree, room: Room, found: Import) -> str | None:
    module = _target(tree, found)
    if found.relative:
        return "a relative import; name the module from the root"
    if found.top in ROOMS or found.top == "config":
        return None if _ours_allowed(module, room.ours) else f"imports {module}, which {room.where} may not see"
    if _within(module, room.never):
        return f"imports {module}, never allowed in {room.where}"
    if room.others != ANY and found.top not in sys.stdlib_module_names and not _within(module, room.others):
        return f"imports {module}; of other people's code {room.where} may import only {', '.join(room.others)}"
    return None


def import_direction(tree: Tree) -> list[str]:
    """Imports go down the list of rooms only; client libraries live in connectors and stores; yaml in the loader; no relative imports."""
    breaches = []
    for name in tree.python(*(f"{room}/" for room in ROOMS)):
        room = next((room for room in LAW if name.startswith(room.where)), None)
        for found in tree.imports(name):
            if room:
                why = _judge(tree, room, found)
            else:  # examples and tests: only that they say what they mean
                why = "a relative import; name the module from the root" if found.relative else None
            if why:
                breaches.append(f"{name}:{found.line}: {why}")
    return breaches


def _impurities(module: ast.Module) -> Iterator[tuple[int, str]]:
    bound: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            bound |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(module):
        match node:
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id=base), attr=middle), attr=last):
                used = f"{bound.get(base, '')}.{middle}.{last}"
            case ast.Attribute(value=ast.Name(id=base), attr=last):
                used = f"{bound.get(base, '')}.{last}"
            case ast.Name(id=base, ctx=ast.Load()):
                used = bound.get(base, base if base in {"open", "input"} else "")
            case _:
                continue
        if used in AMBIENT:
            yield node.lineno, used


AMBIENT = {"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today", "uuid.uuid1", "uuid.uuid4",
           "uuid.getnode", "open", "input", "sys.argv", "sys.stdin"}  # fmt: skip


def pure_domain(tree: Tree) -> list[str]:
    """The domain takes clock, identifiers and randomness as arguments, and reads nothing by itself."""
    return [
        f"{name}:{line}: uses {what}; make it an argument"
        for name in tree.python("runbooks/domain/")
        for line, what in _impurities(tree.parsed(name))
    ]
