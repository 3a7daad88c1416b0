"""Bundles of every version since the first, kept for ever: each later version must still verify and replay them."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from runbooks.domain.checkpoint import VerifierKey
from tasks.bag import open_bag
from tasks.guide import guide
from tasks.replay import replay_bundle
from tasks.verification import verify_bundle
from tasks.verifier import verify
from tests.contracts.bundle.keep import KEPT

LATER = """#!/bin/sh
# openssl in the year 2100: whoever does not say as of when judges an authority whose certificate ended
case " $* " in *" -attime "*) ;; *" -verify "*) set -- "$@" -attime 4102444800 ;; esac
exec OPENSSL "$@"
"""
BUNDLES = sorted(KEPT.glob("bundle-*.zip"))


@pytest.fixture
def in_2100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority's certificate has ended since."""
    program = tmp_path / "bin" / "openssl"
    program.parent.mkdir()
    program.write_text(LATER.replace("OPENSSL", str(shutil.which("openssl"))))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_there_is_one() -> None:
    assert BUNDLES, f"the kept bundles are missing from {KEPT}"


@pytest.mark.usefixtures("in_2100")
@pytest.mark.parametrize("file", BUNDLES, ids=lambda file: file.stem)
def test_an_old_bundle_is_still_verified_and_replayed(file: Path, tmp_path: Path) -> None:
    given = json.loads(file.with_suffix(".json").read_text())
    authority = tmp_path / "ca.pem"
    authority.write_text(given["authority"])
    for name in ("key", "first_key"):
        reading = verify_bundle(open_bag(file), VerifierKey.read(given[name]), authority=authority)
        assert reading.audit().sound, reading.audit().faults
    assert reading.checked["time_stamps"] == 2
    done = replay_bundle(file, VerifierKey.read(given["key"]))
    assert done.audit.sound, done.audit.faults
    assert done.audit.checked["not recomputed"] == 0


@pytest.mark.usefixtures("in_2100")
@pytest.mark.parametrize("file", BUNDLES, ids=lambda file: file.stem)
def test_an_old_bundle_is_verified_by_its_own_small_verifier_and_by_todays(file: Path, tmp_path: Path) -> None:
    given = json.loads(file.with_suffix(".json").read_text())
    with zipfile.ZipFile(file) as packed:
        packed.extractall(tmp_path / "b")
    (tmp_path / "ca.pem").write_text(given["authority"])
    assert verify(tmp_path / "b", given["key"], str(tmp_path / "ca.pem")) == []
    own: dict[str, object] = {"__name__": "then"}
    exec(compile((tmp_path / "b" / "verify.py").read_text(), "verify.py", "exec"), own)  # noqa: S102 - the same
    assert own["verify"](tmp_path / "b", given["key"]) == []  # type: ignore[operator]


@pytest.mark.usefixtures("in_2100")
@pytest.mark.parametrize("file", BUNDLES, ids=lambda file: file.stem)
def test_the_stock_commands_of_the_guide_hold_after_the_authoritys_certificate_ended(
    file: Path, tmp_path: Path
) -> None:
    given = json.loads(file.with_suffix(".json").read_text())
    with zipfile.ZipFile(file) as packed:
        packed.extractall(tmp_path / "b")
    (tmp_path / "b" / "tsa-ca.pem").write_text(given["authority"])
    text = guide().decode()
    loop = text[text.index("    for t in") : text.index("done", text.index("    for t in"))] + "done"
    done = subprocess.run(["bash", "-c", loop], cwd=tmp_path / "b", capture_output=True, text=True, check=False)
    assert done.stdout.count("Verification: OK") == 2, done.stderr
