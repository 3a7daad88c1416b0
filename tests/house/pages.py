"""Laws of the pages: each room has a short one, and the help they show is the help there is."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.house.tree import Tree

ROOMS_WITH_A_PAGE = (
    "flows",
    "flows/doors",
    "flows/doors/door",
    "tasks",
    "tasks/connectors",
    "tasks/intake",
    "tasks/stores",
    "runbooks",
    "config",
    "tests",
    "examples/support_agent",
)
MAX_LINES = 80
BLOCK = re.compile(r"^```[a-z]*\n\$ (quell(?: [a-z-]+)* --help)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def rooms_have_a_page(tree: Tree) -> list[str]:
    """Every room that holds anything has a README.md of at most a page."""
    breaches = []
    for room in ROOMS_WITH_A_PAGE:
        page = f"{room}/README.md"
        if page not in tree.files:
            if any(name.startswith(f"{room}/") for name in tree.files):
                breaches.append(f"{page}: missing; a page with the room's law, shapes and decisions")
        elif (lines := len(tree.read(page).splitlines())) > MAX_LINES:
            breaches.append(f"{page}: {lines} lines; at most {MAX_LINES}")
    return breaches


@dataclass(frozen=True)
class HelpBlock:
    page: str
    command: str
    shown: str


def help_blocks(tree: Tree) -> list[HelpBlock]:
    """Fenced blocks that begin with `$ quell … --help`."""
    return [
        HelpBlock(name, command, shown)
        for name in tree.files
        if name.endswith(".md")
        for command, shown in BLOCK.findall(tree.read(name))
    ]


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def help_is_true(tree: Tree, run: Callable[[list[str]], str]) -> list[str]:
    """The README shows `quell --help`, and every help block on any page is what the command prints (80 columns wide)."""
    blocks = help_blocks(tree)
    breaches = []
    if not any(block.page == "README.md" and block.command == "quell --help" for block in blocks):
        breaches.append("README.md: shows no block beginning with `$ quell --help`")
    for block in blocks:
        real = run(block.command.split()[1:])
        if _plain(real) != _plain(block.shown):
            breaches.append(f"{block.page}: `{block.command}` really prints\n{_plain(real)}")
    return breaches
