"""``python -m examples.support_agent up|attack|book|reissue …``: see the README."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from examples.support_agent.supervisor import Supervisor


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.support_agent", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a world and stay with it until SIGTERM or Ctrl-C")
    up.add_argument("--dir", type=Path, required=True)
    up.add_argument("--seed", type=int, default=0)
    up.add_argument("--prompt-version", type=int, choices=(1, 2, 3))
    up.add_argument("--prompt-cache-seconds", type=float, default=3.0)
    up.add_argument("--tied", action="store_true", help="end when standard input ends")
    attack = commands.add_parser("attack", help="attack a running world; exit 0 if the book shows success")
    attack.add_argument("name", choices=("injected_ticket", "overbroad_goal"))
    attack.add_argument("--dir", type=Path, required=True)
    book = commands.add_parser("book", help="print the book of effects, one JSON object a line")
    book.add_argument("--dir", type=Path, required=True)
    book.add_argument("--since", type=int, default=0)
    reissue = commands.add_parser("reissue", help="give the agent a new access token")
    reissue.add_argument("--dir", type=Path, required=True)
    serve = commands.add_parser("serve", help="(used by the supervisor)")
    serve.add_argument("role")
    serve.add_argument("descriptor", type=int)
    serve.add_argument("settings")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command. Services import only what they serve, so that a world starts quickly."""
    options = _parser().parse_args(argv)
    if options.command == "serve":
        from examples.support_agent.layout import ServeSettings  # noqa: PLC0415 - a service imports only what it serves
        from examples.support_agent.serve import serve  # noqa: PLC0415

        serve(options.role, ServeSettings.model_validate_json(options.settings), options.descriptor)
        return 0
    from examples.support_agent.supervisor import Supervisor, WorldError  # noqa: PLC0415

    try:
        if options.command == "up":
            supervisor = Supervisor(options.dir, options.seed, options.prompt_version, options.prompt_cache_seconds)
            if options.tied:
                _stop_at_end_of_input(supervisor)
            supervisor.run()
            return 0
        return _use(options)
    except WorldError as problem:
        print(problem, file=sys.stderr)
        return 3


def _use(options: argparse.Namespace) -> int:
    from examples.support_agent import attacks  # noqa: PLC0415
    from examples.support_agent.world import attach  # noqa: PLC0415

    with attach(options.dir) as world:
        if options.command == "attack":
            result = attacks.ATTACKS[options.name](world)
            print(result.model_dump_json())
            return 0 if result.succeeded else 1
        if options.command == "book":
            for row in world.book(options.since):
                print(row.model_dump_json())
            return 0
        print(json.dumps({"jti": world.reissue_agent_token()}))
        return 0


def _stop_at_end_of_input(supervisor: Supervisor) -> None:
    def watch() -> None:
        while os.read(0, 1024):
            pass
        supervisor.stop()

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
