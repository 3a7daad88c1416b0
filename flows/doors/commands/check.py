"""`quell check`: is this installation ready, and what to do if it is not."""

import argparse
from collections.abc import Iterator

from flows.doors.commands._say import Say, add_json
from flows.doors.engine_server import EngineCalls, EngineUnreachable, engine_url, own_server
from flows.doors.up import attach
from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import QuellError
from tasks.installation import Installation, open_installation
from tasks.readiness import (
    Finding,
    Level,
    check_active,
    check_connectors,
    check_evidence,
    check_files,
    check_practice,
    check_stores,
    check_trials,
)
from tasks.readiness_anchors import check_anchors
from tasks.readiness_people import check_rights, check_secrets
from tasks.readiness_sources import check_sources

STYLES = {Level.OK: "green", Level.ATTENTION: "yellow", Level.WRONG: "bold red"}


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("--files", action="store_true", help="only files, rights and stores: nothing else is contacted")
    add_json(parser)
    parser.epilog = f"Exit 1 when anything is wrong. Before the first `quell up`, use quell {name} --files."


def run(args: argparse.Namespace) -> int:
    """Ask everything; 0 when nothing is wrong."""
    say: Say = args.say
    found: list[Finding] = []
    with say.busy("looking at everything"):
        for finding in _findings(args):
            found.append(finding)
            say.line(f"{finding.level:9}  {finding.about}: {finding.found}", STYLES[finding.level])
            if finding.todo:
                say.line(f"           -> {finding.todo}")
    wrong = sum(finding.level is Level.WRONG for finding in found)
    attention = sum(finding.level is Level.ATTENTION for finding in found)
    word = "NOT READY" if wrong else "Ready"
    say.head(f"{word}: {wrong} wrong, {attention} to look at, {len(found) - wrong - attention} in order.")
    shown = {"ready": wrong == 0, "findings": [finding.as_json() for finding in found]}
    return say.result(shown, 1 if wrong else 0)


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    try:
        installation = open_installation(args.home)
    except QuellError as error:
        yield Finding(level=Level.WRONG, about="installation", found=error.problem, todo=error.next_step)
        return
    files, found = check_files(installation)
    yield from found
    yield check_active(installation, files)
    yield from check_stores(installation)
    yield from check_anchors(installation)
    sound = all(finding.level is not Level.WRONG for finding in found)
    holds = _holds(installation, files if sound else None)
    if holds is not None:
        yield from _about(holds, installation, files_only=args.files)
    if not args.files:
        yield _engine(installation)


def _holds(installation: Installation, files: Configuration | None) -> Configuration | None:
    """What would hold tonight: the active configuration, or the files when none is active yet."""
    try:
        return installation.active()
    except QuellError:
        return files


def _about(configuration: Configuration, installation: Installation, *, files_only: bool) -> Iterator[Finding]:
    yield from check_rights(configuration, installation)
    yield from check_secrets(configuration, installation)
    yield from check_sources(configuration, installation)
    if not files_only:
        yield from check_connectors(configuration, installation)
    yield from check_evidence(configuration, installation)
    yield from check_trials(configuration, installation)
    yield check_practice(configuration)


def _engine(installation: Installation) -> Finding:
    home = installation.settings.home
    todo = "`quell up`; until then incidents can be declared and acts undone, and nothing else goes on"
    try:
        EngineCalls(home).call("GET", "/health")
        where = engine_url(home)
    except EngineUnreachable as error:
        return Finding(level=Level.WRONG, about="Prefect", found=str(error), todo=todo)
    status = attach(home)
    if status is not None and not status.ready:
        return Finding(level=Level.ATTENTION, about="Prefect", found=f"{where} answers; `quell up` is still coming up",
                       todo="wait until it says that quell is up")  # fmt: skip
    if status is None and own_server():
        return Finding(
            level=Level.ATTENTION, about="Prefect", found=f"{where} answers, but no `quell up` watches it", todo=todo
        )
    return Finding(level=Level.OK, about="Prefect", found=f"{where} answers")
