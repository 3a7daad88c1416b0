"""Laws of every text file: nothing of one machine, no package index, no fixed port. Patterns are put together so as not to match themselves."""

import re

from tests.house.tree import Tree

MACHINE_PATH = re.compile(
    r"(?<![\w.:/~$}-])/(?:work/(?:main|shared|repo|\.)|root/|home/\w+/|Users/\w+/|opt/(?:pypi|wheels))|[A-Z]:\\Users\\"
)
INDEX = re.compile(
    "|".join(
        ("pypi" + r"\.org", "python" + r"hosted\.org", "registry" + r"\.npmjs", "deb" + r"\.debian\.org", "crates" + r"\.io/api",
         r"(?m:^\s*--(?:extra-)?" + "index-url)", r"(?m:^\s*--find" + "-links)", "extra-" + "index-url", "proxy" + r"\.golang")
    )
)  # fmt: skip
PORT = re.compile(
    r"(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):[1-9]\d+"
    r"|(?<![a-z])port[\"']?\s*(?::\s*int\s*)?[=:]\s*[\"']?[1-9]\d{1,4}\b"
    r"|--port[= ][1-9]\d+",
    re.IGNORECASE,
)
KEPT_OUT = {"uv.lock", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "Pipfile.lock"}


def _hits(tree: Tree, pattern: re.Pattern[str], what: str) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, hit.start()) + 1}: {what}: {hit.group().strip()}"
        for name, text in tree.texts()
        for hit in pattern.finditer(text)
    ]


def no_machine_path(tree: Tree) -> list[str]:
    """No path that exists on one machine only."""
    return _hits(tree, MACHINE_PATH, "a path of one machine")


def no_index_address(tree: Tree) -> list[str]:
    """No address of a package index: who installs has their own."""
    kept_out = [
        f"{name}: a lock file that records addresses" for name in tree.files if name.rpartition("/")[2] in KEPT_OUT
    ]
    return kept_out + _hits(tree, INDEX, "a package index")


def no_fixed_port(tree: Tree) -> list[str]:
    """Ports are asked of the system (0) or given by whoever installs; a fixed one is taken on somebody's machine."""
    return _hits(tree, PORT, "a fixed port")
