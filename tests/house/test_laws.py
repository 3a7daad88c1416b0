"""The laws, judged on this checkout. What each forbids is seen to be reported in test_breaches.py."""

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house import code, imports, pages, stems, texts
from tests.house.tree import ROOT, Tree

HOUSE = Tree(ROOT)
LAWS = (
    imports.import_direction,
    imports.pure_domain,
    stems.one_stem,
    stems.archetypes_that_must_be,
    code.no_long_file,
    code.no_code_in_config,
    code.no_swallowing,
    code.one_pen,
    texts.no_machine_path,
    texts.no_index_address,
    texts.no_fixed_port,
    pages.rooms_have_a_page,
)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law_holds(law: Callable[[Tree], list[str]]) -> None:
    breaches = law(HOUSE)
    assert not breaches, f"{law.__doc__}\n" + "\n".join(breaches)


def test_nobody_else_owns_our_names() -> None:
    origins: dict[str, Path | None] = {}
    for name in code.OURS:
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec else []
        origins[name] = Path(places[0]) if places else None
    breaches = code.names_are_ours(importlib.metadata.packages_distributions(), origins, ROOT)
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize("entrypoint", sorted(set(stems.deployments(HOUSE).values())) or ["none yet"])
def test_entry_point_imports(entrypoint: str) -> None:
    """A deployment that Prefect accepts and cannot import is found here, not during an incident."""
    assert entrypoint != "none yet", "prefect.yaml deploys nothing"
    module, _, function = entrypoint.rpartition(".")
    found = getattr(importlib.import_module(module), function)
    assert type(found).__name__ == "Flow", f"{entrypoint} is a {type(found).__name__}, expected a Prefect flow"
    assert found.fn.__name__ == function


def _quell(arguments: list[str]) -> str:
    environment = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "PYTHON_COLORS": "0", "TERM": "dumb"}
    run = subprocess.run(
        [str(Path(sys.executable).parent / "quell"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60,
    )
    return run.stdout if run.returncode == 0 else f"{run.stdout}{run.stderr}(exit {run.returncode})"


def test_help_on_the_pages_is_the_real_help() -> None:
    breaches = pages.help_is_true(HOUSE, _quell)
    assert not breaches, "\n".join(breaches)


def test_help_is_there() -> None:
    shown = _quell(["--help"])
    assert shown.startswith("usage: quell"), shown
