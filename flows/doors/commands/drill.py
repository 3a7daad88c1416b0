"""`quell drill ARCHETYPE`: the arguments; the drill itself is in flows/doors/drill.py."""

import argparse
from importlib import import_module

from flows.doors.commands._say import add_json


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    del name
    parser.add_argument("archetype", metavar="ARCHETYPE", help="prompt_injection or agentic_misalignment")
    parser.add_argument("--interactive", action="store_true", help="you approve, in Prefect or with quell approve")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument("--seed", type=int, default=1, help="seed of the practice model (default 1)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Everything real on free loopback ports; only what it started is stopped."""
    args.archetype = args.archetype.replace("-", "_")
    return int(import_module("flows.doors.drill").run_drill(args))
