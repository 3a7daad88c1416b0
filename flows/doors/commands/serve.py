"""`quell up`, `quell work`, `quell keep`, `quell door`, `quell dispatch`: the processes that stay."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from uuid import UUID

from flows.doors.commands._say import Say
from flows.doors.engine_server import EngineUnreachable
from flows.doors.listing import ListingError
from runbooks.domain.errors import UnreachableError
from runbooks.domain.ledger import EntryType
from tasks.installation import Installation, open_installation
from tasks.intake.bell import bell_of, ring
from tasks.ledger import door_actor
from tasks.settings import load_settings

CHILDREN = {name: [sys.executable, "-m", "flows.doors.cli", name] for name in ("work", "keep", "door", "dispatch")}
"""The commands that `up` starts and watches, by the names that its status shows."""
NAMES = {"work": "worker", "keep": "keeper", "door": "door", "dispatch": "dispatcher"}


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Only `up` takes an argument: settings are in config/defaults.toml."""
    if name == "up":
        parser.add_argument(
            "--practice", action="store_true",
            help="in a new home, with the practice agent beside it and its people's keys: nothing real is touched",
        )  # fmt: skip
    parser.epilog = "It goes on until SIGTERM or Ctrl-C. Limits are set in config/defaults.toml."


def run(args: argparse.Namespace) -> int:
    """Stay until asked to stop."""
    try:
        if args.command == "up":
            return _practise(args.home, args.say) if args.practice else _up(args.home, args.say)
        if args.command == "work":
            return _work(args)
        if args.command == "door":
            installation = open_installation(args.home)
            ready_to_start(installation)
            committed = partial(ring, bell_of(args.home))
            return int(import_module("flows.doors.door.serving").run_door(installation, committed=committed))
        if args.command == "dispatch":
            ready_to_start(open_installation(args.home))
            return int(import_module("flows.doors.dispatcher").run_dispatcher(args.home))
        open_installation(args.home).store.demand_whole()
        return int(import_module("flows.doors.keeper").run_keeper(args.home))
    except (EngineUnreachable, ListingError) as error:
        raise UnreachableError(
            str(error), now="nothing was started; what is in the record stays.",
            next_step="start `quell up`, or set PREFECT_API_URL to a server that runs.",
        ) from error  # fmt: skip


def _up(home: Path, say: Say) -> int:
    ready_to_start(open_installation(home))
    commands = {NAMES[name]: argv for name, argv in CHILDREN.items()}
    with spinning_until_up(say, watched=sys.stdout.isatty()) as out:
        return int(import_module("flows.doors.up").run_up(home, commands=commands, out=out))


@contextmanager
def spinning_until_up(say: Say, *, watched: bool) -> Iterator[Callable[[str], None]]:
    """How `up` says its lines; beside them something moves until it is up, if somebody watches."""
    with ExitStack() as spinning:
        if watched:
            spinning.enter_context(say.busy("starting everything; the first time takes about half a minute"))

        def out(text: str) -> None:
            if text.startswith("quell is up"):
                spinning.close()
            print(text, flush=True)

        yield out


def _practise(home: Path, say: Say) -> int:
    practice = import_module("flows.doors.practice")
    apart = practice.fresh_home(home / "practice", "up")
    with practice.prepare(apart, seed=1):
        print("The practice agent is up. In another terminal, before any other command:", flush=True)
        print(f"  export QUELL_HOME={apart}", flush=True)
        os.environ["QUELL_HOME"] = str(apart)
        return _up(apart, say)


def ready_to_start(installation: Installation) -> None:
    """Nothing starts half: the ledger agrees with its head, the files are right, and something is active."""
    installation.store.demand_whole()
    installation.proposed()
    installation.activate_if_fresh()
    installation.active()


def _work(args: argparse.Namespace) -> int:
    limits = load_settings(args.home).limits

    def refused(flow_run_id: UUID, reason: str) -> None:
        logging.getLogger("quell.worker").error("Refused flow run %s: %s", flow_run_id, reason)
        open_installation(args.home).pen(door_actor("worker")).write(
            EntryType.RUN_REFUSED, f"run-refused/{flow_run_id}",
            body={"flow_run": str(flow_run_id), "because": reason[:300]},
        )  # fmt: skip

    worker = import_module("flows.doors.worker")
    return int(
        worker.run_worker(args.home, limit=limits.worker_limit, standby=limits.worker_standby, on_refused=refused)
    )
