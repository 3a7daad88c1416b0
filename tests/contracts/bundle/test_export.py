"""What an export hands over, what it leaves out, and that tools which know nothing of quell agree."""

import ast
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flows.doors.cli import main
from runbooks.domain import bundle
from runbooks.domain.errors import EvidenceError
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.ledger import EntryType
from tasks import verifier
from tasks.bundle import _Export, export
from tasks.verifier import verify
from tests.contracts.bundle.conftest import Case
from tests.contracts.bundle.ground import an_export, an_incident, judged, load, store, with_digests


def _run(*words: str | Path, where: Path, text: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [str(word) for word in words], cwd=where, capture_output=True, check=False, env=environment, input=text
    )


@pytest.fixture
def place(case: Case, tmp_path: Path) -> Path:
    return store(case.files, tmp_path / "bundle")


def test_sha256sum_and_bagit_agree(place: Path) -> None:
    done = _run("sha256sum", "-c", "manifest-sha256.txt", "tagmanifest-sha256.txt", where=place)
    assert done.returncode == 0, done.stdout
    done = _run(sys.executable, Path(sys.executable).parent / "bagit.py", "--validate", ".", where=place)
    assert done.returncode == 0, done.stderr


def test_ssh_keygen_agrees_about_every_decision(place: Path) -> None:
    folders = sorted((place / "data" / "decisions").iterdir())
    assert len(folders) == 4
    for folder in folders:
        person, namespace, at = ((folder / name).read_text().strip() for name in ("person", "namespace", "verify-time"))
        done = _run(
            "ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", person, "-n", namespace, "-O",
            f"verify-time={at}", "-s", "statement.json.sig", where=folder, text=(folder / "statement.json").read_bytes(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_the_small_verifier_works_where_quell_is_not(case: Case, place: Path, tmp_path: Path) -> None:
    """Isolated Python, another folder, no path of ours: only the standard library and cryptography."""
    copy = tmp_path / "alone" / "verify.py"
    copy.parent.mkdir()
    shutil.copy(place / "verify.py", copy)
    guard = (
        "import sys, runpy; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        f"sys.argv = ['verify.py', {str(place)!r}, {case.key!r}]\n"
        f"try: runpy.run_path({str(copy)!r}, run_name='__main__')\n"
        "finally: assert not {'tasks', 'runbooks', 'flows', 'pydantic'} & set(sys.modules), sorted(sys.modules)"
    )
    done = _run(sys.executable, "-I", "-c", guard, where=copy.parent)
    assert (done.returncode, done.stdout) == (0, b"Everything holds.\n"), done.stderr
    (place / "data" / "report" / "report.html").write_text("<p>all was well</p>")
    done = _run(sys.executable, "-I", copy, place, case.key, where=copy.parent)
    assert done.returncode == 1
    assert b"report.html" in done.stdout


def test_the_small_verifier_stays_small() -> None:
    text = Path(verifier.__file__).read_text()
    lines, prose = text.splitlines(), set[int]()
    for one in ast.walk(ast.parse(text)):
        if isinstance(one, ast.Module | ast.FunctionDef) and ast.get_docstring(one):
            prose |= set(range(one.body[0].lineno, (one.body[0].end_lineno or 0) + 1))
    code = [line for n, line in enumerate(lines, 1) if line.strip() and n not in prose]
    assert len(code) <= 192
    imported = {line.split()[1].split(".")[0] for line in lines if re.match(r"(import|from) ", line)}
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


def test_what_is_withheld_is_counted_named_and_still_proven(case: Case, tmp_path: Path) -> None:
    done = export(case.place, case.incident, tmp_path / "some", frozenset({EvidenceClass.E}))
    files = load(tmp_path / "some")
    assert done.seal.withheld == {EvidenceClass.F: 1, EvidenceClass.J: 1}
    audit = judged(files, done.key)
    assert audit.sound, audit.faults
    assert any("class J (reports and screens): 1 items withheld" in one.what for one in audit.findings)
    assert verify(tmp_path / "some", done.key) == []
    assert b"Withheld: class F" in files["bag-info.txt"]
    for said, instead in (
        (b": 1 items", b": 0 items"),
        (b"class F", b"class E"),
        (b"Withheld: class F", b"Note: class F"),
    ):
        told = with_digests({**files, "bag-info.txt": files["bag-info.txt"].replace(said, instead)})
        assert not judged(told, done.key).sound
        assert verify(store(told, tmp_path / "told"), done.key) == ["bag-info.txt: does not tell what was withheld"]
    everything = b"".join(files.values())
    assert b"a ticket made it refund" not in everything, "the report's words are of class J"
    entry = case.place.store.entries(case.incident, types=(EntryType.BUNDLE_EXPORTED,))[-1]
    assert entry.body["export"]["withheld"] == {"F": 1, "J": 1}
    assert entry.body["export"]["disclosed"] == ["E"]


def test_erased_content_is_said_to_be_erased(people_keys: dict[str, Path], tmp_path: Path) -> None:
    installation, incident = an_incident(tmp_path / "home", people_keys)
    sealed = installation.store.entries(incident, types=(EntryType.COLLECTION_SEALED,))
    collection = json.loads(installation.vault.get(sealed[0].subject["collection"]))
    installation.vault.forget(collection["id"])
    done = export(installation, incident, tmp_path / "b", None)
    assert done.seal.erased == (collection["id"],)
    audit = judged(load(tmp_path / "b"), done.key)
    assert audit.sound, audit.faults
    assert any("cannot be read any more" in one.what for one in audit.findings)


def test_two_exports_are_the_same_but_for_the_seal(case: Case, tmp_path: Path) -> None:
    export(case.place, case.incident, tmp_path / "again", None)
    again = load(tmp_path / "again")
    same = {name for name, data in case.files.items() if again.get(name) == data}
    differ = set(case.files) - same
    assert differ <= {
        "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt", bundle.CHECKPOINT, bundle.CHECKPOINT_BODY,
        bundle.ENTRIES, bundle.PROOFS, bundle.HOUSE_PROOFS, bundle.HOUSE_ENTRIES, bundle.REPORT,
    }  # fmt: skip


def test_a_place_that_is_taken_and_an_unknown_incident_are_refused(case: Case, tmp_path: Path) -> None:
    size = case.place.store.size()
    with pytest.raises(EvidenceError, match="exists already"):
        export(case.place, case.incident, tmp_path, None)
    with pytest.raises(EvidenceError, match="no incident"):
        export(case.place, "INC-NNNN", tmp_path / "b", None)
    assert case.place.store.size() == size


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [
            str(value) for name, value in attrs if name in ("href", "src", "action", "style") or name.startswith("on")
        ]


def test_the_report_is_one_page_that_fetches_and_runs_nothing(case: Case) -> None:
    page = _Page()
    text = case.files[bundle.REPORT].decode()
    page.feed(text)
    assert not page.links
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert "default-src 'none'" in text
    assert {"svg", "table", "h1"} <= page.tags
    for word in (
        "DRILL",
        "Switch off refunds",
        "effective",
        "signed by the person",
        "not signed by a person",
        "SHA256:",
    ):
        assert word in text, word


def test_hostile_text_in_a_report_stays_text(people_keys: dict[str, Path], tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=y>\"'&\u202e\x00 {{7*7}} ${x}"
    installation, incident = an_incident(tmp_path / "home", people_keys, what=hostile)
    done = export(installation, incident, tmp_path / "b", None)
    text = (tmp_path / "b" / bundle.REPORT).read_text()
    page = _Page()
    page.feed(text)
    assert not page.tags & {"script", "img"}
    assert "&lt;script&gt;alert(1)" in text
    assert "\u202e" not in text
    assert done.files > 50


def test_the_commands_export_and_verify(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUELL_HOME", str(case.place.settings.home))
    assert main(["export", case.incident, str(tmp_path / "b"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["verify", str(tmp_path / "b"), "--key", told["key"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert main(["verify", str(tmp_path / "b"), "--key", "nonsense"]) == 2
    assert main(["verify", str(tmp_path / "b")]) == 1
    assert "no log key was given" in capsys.readouterr().out
    assert main(["export", case.incident, str(tmp_path / "c"), "--only", "Z"]) == 2
    assert main(["verify", str(tmp_path / "none"), "--key", told["key"]]) == 3
    (tmp_path / "b" / "data" / "extra").write_text("x")
    assert main(["verify", str(tmp_path / "b"), "--key", told["key"], "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert any(one["where"] == "data/extra" and one["means"] for one in found["findings"])


def test_a_disk_that_is_full_leaves_no_half_bundle_and_says_so(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = _Export._file

    def full(self: _Export, path: str, data: bytes, *, again: bool = False) -> None:
        if path == bundle.PROOFS:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, path, data, again=again)

    monkeypatch.setattr(_Export, "_file", full)
    with pytest.raises(EvidenceError, match="No space left on device") as raised:
        export(case.place, case.incident, tmp_path / "b", None)
    assert "nothing of it is left" in raised.value.now
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    files, key = an_export(case.place, case.incident, tmp_path / "b")
    assert judged(files, key).sound
