"""The loader says which file and which key; labels select the page."""

from pathlib import Path

import pytest
import yaml

from runbooks.domain.errors import BookError
from runbooks.domain.incident import Archetype
from runbooks.domain.runbook import Runbook, select
from runbooks.domain.standards import IDENTIFIERS, check_identifier
from runbooks.loader import load_book, load_runbook
from tests.domain.cast import a_runbook

INJECTION = Archetype.PROMPT_INJECTION
PAGE = a_runbook(archetype=INJECTION).as_json()


def wrong(folder: Path, **changes: object) -> str:
    (folder / "prompt_injection.yaml").write_text(yaml.safe_dump(PAGE | changes))
    with pytest.raises(BookError) as caught:
        load_runbook(INJECTION, folder)
    assert "prompt_injection.yaml" in caught.value.problem
    return str(caught.value)


def test_a_good_page_loads(tmp_path: Path) -> None:
    (tmp_path / "prompt_injection.yaml").write_text(yaml.safe_dump(PAGE))
    book = load_book(tmp_path)
    assert book == {INJECTION: Runbook.model_validate(PAGE)}
    assert book[INJECTION].digest() == Runbook.from_bytes(book[INJECTION].canonical()).digest()


def test_every_wrong_key_is_named(tmp_path: Path) -> None:
    step = {"verb": "blow_up", "why": "x"}
    said = wrong(tmp_path, containment=[step], evidence=["Z"], colour="red")
    for name in ("containment.0.verb", "disable_tool", "evidence.0", "colour"):
        assert name in said
    assert "scenarios" in wrong(tmp_path, scenarios=[])
    assert "references" in wrong(tmp_path, references=[])
    assert "containment.0.why" in wrong(tmp_path, containment=[{"verb": "disable_tool"}])


@pytest.mark.parametrize("identifier", ["LLM11", "AML.T9999", "OWASP-LLM01", "llm01", ""])
def test_an_unknown_standard_identifier_is_named(identifier: str, tmp_path: Path) -> None:
    assert f"identifier {identifier} is in none" in wrong(tmp_path, references=["LLM01", identifier])
    with pytest.raises(BookError):
        check_identifier(identifier)


def test_every_vendored_identifier_has_a_name() -> None:
    assert all(check_identifier(identifier) for identifier in IDENTIFIERS)
    assert len(IDENTIFIERS) > 100


def test_the_archetype_is_the_file_name(tmp_path: Path) -> None:
    assert "expected archetype prompt_injection, found data_exfiltration" in wrong(
        tmp_path, archetype="data_exfiltration"
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"a: [", b"a: b: c", b"\xff\xfe\x00", b"just text", b"!!python/object/apply:os.system ['true']", b"\x00",
     b"title: a\ntitle: b\n", b"? [a, b]\n: c\n", b"&a [*a]"],
)  # fmt: skip
def test_whatever_stands_in_the_file_it_is_a_book_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "prompt_injection.yaml").write_bytes(content)
    with pytest.raises(BookError, match=r"prompt_injection\.yaml"):
        load_runbook(INJECTION, tmp_path)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    """Plain YAML lets the second win: half of the containment would be gone without a word."""
    text = yaml.safe_dump(PAGE) + "containment: []\n"
    (tmp_path / "prompt_injection.yaml").write_text(text)
    with pytest.raises(BookError, match="containment' stands twice"):
        load_runbook(INJECTION, tmp_path)


def test_a_missing_or_strange_file(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="readable YAML"):
        load_runbook(INJECTION, tmp_path)
    for name in ("something.yaml", "prompt_injection.yml"):
        (tmp_path / name).write_text(yaml.safe_dump(PAGE))
        with pytest.raises(BookError, match=name):
            load_book(tmp_path)
        (tmp_path / name).unlink()
    assert load_book(tmp_path) == {}


BOOK = {
    Archetype.AGENTIC_MISALIGNMENT: a_runbook(),
    INJECTION: a_runbook(archetype=INJECTION, signals=("injection", "both"), near_misses=("blocked", "stopped")),
}


@pytest.mark.parametrize(
    ("labels", "archetype", "near_miss"),
    [
        (("rogue",), Archetype.AGENTIC_MISALIGNMENT, False),
        (("injection",), INJECTION, False),
        (("rogue", "injection"), INJECTION, False),  # the order of the archetypes
        (("blocked",), INJECTION, True),
        (("blocked", "rogue"), Archetype.AGENTIC_MISALIGNMENT, False),  # harm beats a near miss
        (("stopped",), INJECTION, True),
        (("odd",), Archetype.UNCLASSIFIED, False),
        ((), Archetype.UNCLASSIFIED, False),
        (("ROGUE",), Archetype.UNCLASSIFIED, False),
    ],
)
def test_select(labels: tuple[str, ...], archetype: Archetype, near_miss: bool) -> None:
    assert select(labels, BOOK) == (archetype, near_miss)
    assert select(tuple(reversed(labels)), dict(reversed(BOOK.items()))) == (archetype, near_miss)
