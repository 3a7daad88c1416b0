"""A tree of files as the laws see it: what git knows of (or would, at the next add), in a checkout or in a planted folder."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("flows", "tasks", "runbooks", "examples", "tests")


@dataclass(frozen=True)
class Import:
    """One import: the module named and, for `from module import name`, the name."""

    line: int
    module: str
    name: str = ""
    relative: bool = False

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


@dataclass(frozen=True)
class Tree:
    root: Path

    @cached_property
    def files(self) -> list[str]:
        if (self.root / ".git").exists():
            listed = subprocess.run(
                ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                cwd=self.root, check=True, capture_output=True, text=True,
            ).stdout.split("\0")  # fmt: skip
            return sorted({name for name in listed if name and (self.root / name).is_file()})
        return sorted(
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_file()
            and not {".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"} & set(path.parts)
        )

    def read(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every file that is text, with its text."""
        for name in self.files:
            data = (self.root / name).read_bytes()
            if b"\0" in data:
                continue
            try:
                yield name, data.decode("utf-8")
            except UnicodeDecodeError:
                continue

    def python(self, *under: str) -> list[str]:
        return [name for name in self.files if name.endswith(".py") and (not under or name.startswith(under))]

    def parsed(self, name: str) -> ast.Module:
        return ast.parse(self.read(name), filename=name)

    def is_module(self, dotted: str) -> bool:
        path = dotted.replace(".", "/")
        return (self.root / f"{path}.py").is_file() or (self.root / path).is_dir()

    def imports(self, name: str) -> Iterator[Import]:
        """Every import in a file, wherever it stands, and every import_module("...") of a fixed name."""
        for node in ast.walk(self.parsed(name)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, alias.name)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield Import(node.lineno, node.module or "", alias.name, relative=bool(node.level))
            elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield Import(node.lineno, first.value.lstrip("."), relative=first.value.startswith("."))


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def plant(root: Path, files: dict[str, str]) -> Tree:
    """A small tree with exactly these files: for showing that a law can fail."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Tree(root)
