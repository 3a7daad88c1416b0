"""Each law is shown a breach and must report it, and is shown the honest form beside it and must stay silent."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.house import code, imports, pages, stems, texts
from tests.house.tree import Tree, plant

Law = Callable[[Tree], list[str]]

FLOW = "def {0}(incident):\n    return incident\n"
DEPLOYED = "deployments:\n  - name: {0}\n    entrypoint: flows.{0}.{0}\n"
STEM = "toxicity_abuse"
WHOLE = {
    f"runbooks/{STEM}.yaml": f"archetype: {STEM}\n",
    f"flows/{STEM}.py": FLOW.format(STEM),
    "prefect.yaml": DEPLOYED.format(STEM),
}
FOUR, HOME, INDEX_HOST = "42" + "00", "/" + "root/", "pypi" + ".org"

BREACHES: tuple[tuple[Law, dict[str, str], str], ...] = (
    (imports.import_direction, {"runbooks/domain/a.py": "import prefect"}, "prefect"),
    (imports.import_direction, {"runbooks/domain/a.py": "def f():\n    import yaml"}, "a.py:2"),
    (imports.import_direction, {"runbooks/domain/a.py": "import time"}, "time"),
    (imports.import_direction, {"runbooks/domain/a.py": "from os import environ"}, "os"),
    (imports.import_direction, {"runbooks/domain/a.py": "import random"}, "random"),
    (
        imports.import_direction,
        {"runbooks/domain/a.py": "from runbooks import loader", "runbooks/loader.py": ""},
        "runbooks.loader",
    ),
    (imports.import_direction, {"runbooks/domain/a.py": "from .b import c"}, "relative"),
    (imports.import_direction, {"runbooks/loader.py": "import prefect"}, "prefect"),
    (imports.import_direction, {"runbooks/loader.py": "import tasks.ledger"}, "tasks.ledger"),
    (imports.import_direction, {"tasks/connectors/a.py": "import prefect"}, "prefect"),
    (
        imports.import_direction,
        {"tasks/connectors/a.py": "from tasks.connectors import b", "tasks/connectors/b.py": ""},
        "tasks.connectors.b",
    ),
    (imports.import_direction, {"tasks/connectors/a.py": "import tasks.ledger"}, "tasks.ledger"),
    (imports.import_direction, {"tasks/connectors/a.py": "import tasks.stores.disk"}, "tasks.stores.disk"),
    (imports.import_direction, {"tasks/stores/a.py": "from prefect import task"}, "prefect"),
    (imports.import_direction, {"tasks/stores/a.py": "from tasks.stores.s3 import S3"}, "tasks.stores.s3"),
    (imports.import_direction, {"tasks/settings.py": "import prefect"}, "prefect"),
    (imports.import_direction, {"tasks/evidence.py": "import httpx"}, "httpx"),
    (imports.import_direction, {"tasks/intake/mapping.py": "import sqlite3"}, "sqlite3"),
    (imports.import_direction, {"tasks/intake/a.py": "from tasks.stores.disk import Disk"}, "tasks.stores.disk"),
    (
        imports.import_direction,
        {"flows/a.py": "from tasks.intake.mapping import x", "tasks/intake/mapping.py": ""},
        "tasks.intake.mapping",
    ),
    (imports.import_direction, {"tasks/evidence.py": "import yaml"}, "yaml"),
    (imports.import_direction, {"tasks/evidence.py": "from flows import a"}, "flows"),
    (imports.import_direction, {"tasks/evidence.py": "from tasks.connectors.aws_iam import connect"}, "aws_iam"),
    (imports.import_direction, {"flows/a.py": "from tasks.stores import open"}, "tasks.stores"),
    (
        imports.import_direction,
        {"flows/a.py": "from tasks import connectors", "tasks/connectors/base.py": ""},
        "tasks.connectors",
    ),
    (imports.import_direction, {"flows/a.py": "import httpx"}, "httpx"),
    (imports.import_direction, {"flows/a.py": "import urllib.request"}, "urllib.request"),
    (imports.import_direction, {"flows/a.py": "import flows.doors.cli"}, "flows.doors.cli"),
    (imports.import_direction, {"flows/doors/a.py": "import tasks.connectors"}, "tasks.connectors"),
    (imports.import_direction, {"flows/doors/a.py": "from tasks.stores.disk import Disk"}, "tasks.stores.disk"),
    (imports.import_direction, {"flows/doors/a.py": "import sqlalchemy"}, "sqlalchemy"),
    (
        imports.import_direction,
        {"flows/doors/a.py": "import importlib\nimportlib.import_module('tasks.stores')"},
        "tasks.stores",
    ),
    (imports.import_direction, {"flows/doors/a.py": "import tests.soak"}, "tests.soak"),
    (imports.import_direction, {"examples/support_agent/a.py": "from . import b"}, "relative"),
    (imports.pure_domain, {"runbooks/domain/a.py": "from datetime import datetime as d\nd.now()"}, "a.py:2"),
    (imports.pure_domain, {"runbooks/domain/a.py": "import datetime\ndatetime.datetime.now()"}, "datetime.now"),
    (imports.pure_domain, {"runbooks/domain/a.py": "from uuid import uuid4\nx = list(map(str, [uuid4]))"}, "uuid4"),
    (imports.pure_domain, {"runbooks/domain/a.py": "import uuid\nmake = uuid.uuid4"}, "uuid4"),
    (imports.pure_domain, {"runbooks/domain/a.py": "open('x')"}, "open"),
    *((stems.one_stem, {n: t for n, t in WHOLE.items() if n != lost}, f"{STEM}") for lost in WHOLE),
    (stems.one_stem, WHOLE | {f"flows/{STEM}.py": FLOW.format("other")}, "with a function"),
    (stems.one_stem, WHOLE | {f"runbooks/{STEM}.yaml": "archetype: other\n"}, "archetype: other"),
    (
        stems.one_stem,
        WHOLE | {"prefect.yaml": f"deployments:\n  - name: {STEM}\n    entrypoint: flows/{STEM}.py:{STEM}\n"},
        "module form",
    ),
    (
        stems.one_stem,
        {"flows/unlisted.py": FLOW.format("unlisted"), "prefect.yaml": DEPLOYED.format("unlisted")},
        "must be one of",
    ),
    (stems.archetypes_that_must_be, WHOLE, "prompt_injection"),
    (code.no_long_file, {"tests/a.py": "x = 1\n" * 301}, "301 lines"),
    (code.no_code_in_config, {"config/a.py": ""}, "config/a.py"),
    (code.no_swallowing, {"tasks/a.py": "try:\n    f()\nexcept Exception:\n    pass"}, "line 3"),
    (code.no_swallowing, {"tasks/a.py": "try:\n    f()\nexcept:\n    pass"}, "line 3"),
    (code.no_swallowing, {"tasks/a.py": "try:\n    f()\nexcept (ValueError, BaseException):\n    pass"}, "line 3"),
    (code.no_swallowing, {"tasks/a.py": "with contextlib.suppress(Exception):\n    f()"}, "line 1"),
    (code.one_pen, {"tasks/approval.py": "ledger.append(entry)"}, "approval.py:1"),
    (code.one_pen, {"flows/doors/keeper.py": "self._ledger.append(entry)"}, "keeper.py:1"),
    (code.one_pen, {"tasks/evidence.py": "log.append_all(drafts)"}, "evidence.py:1"),
    (code.one_pen, {"tasks/evidence.py": "log.append(entry, key='k')"}, "evidence.py:1"),
    (code.one_pen, {"tasks/evidence.py": "stores.ledger().append(entry)"}, "evidence.py:1"),
    (texts.no_machine_path, {"README.md": f"see {HOME}x"}, "README.md:1"),
    (texts.no_machine_path, {"a.toml": 'x = 1\ny = "/' + 'home/me/quell"'}, "a.toml:2"),
    (texts.no_index_address, {"a.txt": f"https://{INDEX_HOST}/simple"}, "a.txt:1"),
    (texts.no_index_address, {"r.lock": "--index" + "-url x"}, "r.lock:1"),
    (texts.no_index_address, {"uv.lock": ""}, "uv.lock"),
    (texts.no_fixed_port, {"a.py": f"serve(port={FOUR})"}, "a.py:1"),
    (texts.no_fixed_port, {"a.toml": f"door_port = {FOUR}"}, "a.toml:1"),
    (texts.no_fixed_port, {"a.md": f"open http://127.0.0.1:{FOUR}/"}, "a.md:1"),
    (texts.no_fixed_port, {"a.md": f"serve --port {FOUR}"}, "a.md:1"),
    (texts.no_fixed_port, {"a.py": f"def f(port: int = {FOUR}): ..."}, "a.py:1"),
    (pages.rooms_have_a_page, {"tasks/a.py": ""}, "tasks/README.md"),
    (pages.rooms_have_a_page, {"tasks/README.md": "x\n" * 81}, "81 lines"),
)


@pytest.mark.parametrize(
    ("law", "files", "named"), BREACHES, ids=lambda value: value.__name__ if callable(value) else ""
)
def test_breach_is_reported(tmp_path: Path, law: Law, files: dict[str, str], named: str) -> None:
    breaches = law(plant(tmp_path, {"flows/README.md": "", **files}))
    assert any(named in breach for breach in breaches), breaches


HONEST: dict[str, str] = {
    **WHOLE,
    "runbooks/domain/a.py": "import hashlib\nfrom datetime import UTC, datetime\nfrom uuid import UUID, uuid5\nfrom pydantic import BaseModel\n"
    "from runbooks.domain import b\nx = clock.now()\ny = datetime.fromisoformat('x')\nclass F:\n    open: bool\n",
    "runbooks/domain/b.py": "found = []\nfound.append(1)\n",
    "runbooks/loader.py": "import yaml\nfrom runbooks.domain.a import x\n",
    "tasks/connectors/a.py": "import httpx\nfrom tasks.connectors.base import Connector\nfrom runbooks.domain.b import found\n",
    "tasks/connectors/base.py": "from runbooks.domain import a\n",
    "tasks/stores/__init__.py": "from tasks.stores import a\nfrom tasks.stores.a import store\n",
    "tasks/stores/a.py": "import sqlalchemy\nstore.append(1)\n",
    "tasks/settings.py": "import os\nimport tomllib\nfrom runbooks.domain import a\n",
    "tasks/ledger.py": "from tasks.stores import open\nfrom tasks import connectors, settings\nledger.append(entry, key=key)\n",
    "tasks/evidence.py": "from prefect import task\nfrom tasks import ledger\nreasons.append('x')\ntry:\n    f()\nexcept ValueError:\n    raise\n",
    "flows/_gate.py": "from prefect import flow\nimport pydantic\nfrom tasks import evidence\nfrom flows import _stages\n",
    "flows/doors/a.py": "import httpx\nfrom flows import toxicity_abuse\nfrom tasks import ledger\n",
    "config/defaults.toml": "port = 0\nreport = 12\nsupport_tickets = 400\n",
    "config/README.md": "a port of 0 asks the system for one; https://example.org/home/me/x, ~/work/, :" + "0\n",
    **{f"{room}/README.md": "A page.\n" for room in pages.ROOMS_WITH_A_PAGE if room != "config"},
}  # fmt: skip

LAWS = tuple(
    dict.fromkeys(law for law, _, _ in BREACHES if law not in {stems.archetypes_that_must_be, code.no_swallowing})
)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_honest_tree_is_silent(tmp_path: Path, law: Law) -> None:
    assert law(plant(tmp_path, HONEST)) == []


def test_the_list_of_catch_alls_counts(tmp_path: Path) -> None:
    once = "try:\n    f()\nexcept Exception:\n    raise\n"
    tree = plant(tmp_path, {"tasks/a.py": once})
    listed: Mapping[str, tuple[int, str]] = {"tasks/a.py": (1, "a reason")}
    assert code.no_swallowing(tree, listed) == []
    assert code.no_swallowing(tree, {}) != []
    assert "shorten the list" in code.no_swallowing(tree, {"tasks/a.py": (2, "a reason")})[0]
    assert code.no_swallowing(plant(tmp_path, {"tasks/a.py": once * 2}), listed) != []


def test_listed_files_exist() -> None:
    from tests.house.tree import ROOT

    gone = [name for name in code.MAY_CATCH_ALL if not (ROOT / name).is_file()]
    assert not gone, f"listed in tests/house/code.py, but gone: {gone}"


def test_a_foreign_owner_is_reported(tmp_path: Path) -> None:
    assert "invoke-tasks" in code.names_are_ours({"tasks": ["invoke-tasks"]}, {}, tmp_path)[0]
    assert "expected" in code.names_are_ours({}, {"flows": tmp_path / "elsewhere" / "flows"}, tmp_path)[0]
    assert code.names_are_ours({"tasks": ["quell"], "yaml": ["PyYAML"]}, {"flows": tmp_path / "flows"}, tmp_path) == []


def test_untrue_help_is_reported(tmp_path: Path) -> None:
    page = "```console\n$ quell --help\nusage: quell\n```\n\n```\n$ quell drill --help\nusage: old\n```\n"
    tree = plant(tmp_path, {"README.md": page})
    real = {(): "usage: quell  \n", ("drill",): "usage: new\n"}
    breaches = pages.help_is_true(tree, lambda arguments: real[tuple(arguments[:-1])])
    assert len(breaches) == 1
    assert "usage: new" in breaches[0]
    assert "shows no block" in pages.help_is_true(plant(tmp_path / "bare", {"README.md": "nothing"}), lambda _: "")[0]
