"""What an anchor does not prove, or no longer: one taken out, a log stamped only today, heads that came with the bundle."""

from pathlib import Path

import pytest

from runbooks.domain import bundle
from tasks.anchors import AnchorDuty
from tasks.installation import Installation
from tasks.verifier import verify
from tests.contracts.bundle.ground import an_export, judged, lines, rewritten, settings, store, with_digests


def test_a_whole_anchor_that_is_taken_out_is_missed(
    place: tuple[Installation, str], tmp_path: Path, authority: tuple[str, Path]
) -> None:
    """Its files and its line of the joining, and even its entry with the proof: both verifiers miss it."""
    installation, incident = place
    settings(installation, anchor_tsa_url=authority[0])
    AnchorDuty(installation).keep()
    files, key = an_export(installation, incident, tmp_path / "b")
    size = min(int(name.split("/")[2].split(".")[0]) for name in files if name.endswith(".note"))
    gone = {name: data for name, data in files.items() if not name.startswith(f"data/anchors/{size}.")}
    gone[bundle.CONSISTENCY] = b"".join(
        one for one in lines(files, bundle.CONSISTENCY) if b'"size":%d}' % size not in one
    )
    assert len(files) - len(gone) == 4
    assert gone[bundle.CONSISTENCY] != files[bundle.CONSISTENCY]
    without = [n for n, one in enumerate(lines(files, bundle.HOUSE_ENTRIES)) if b"checkpoint_anchored" not in one]
    assert len(without) + 1 == len(lines(files, bundle.HOUSE_ENTRIES))
    unsaid = gone | {
        name: b"".join(lines(files, name)[n] for n in without) for name in (bundle.HOUSE_ENTRIES, bundle.HOUSE_PROOFS)
    }
    for changed, words in ((gone, f"{size}.note: is not here"), (unsaid, "is not the one that the last entry names")):
        audit = judged(with_digests(changed), key, authority=authority[1])
        assert any(words in one.line() for one in audit.faults), audit.faults
        assert verify(store(with_digests(changed), tmp_path / "c"), key) != []


@pytest.mark.parametrize(("shifted", "words"), [(-3 * 86_400 - 60, "up to 3 days after"), (86_400, "was made up")])
def test_history_rewritten_and_stamped_today_is_told_by_the_stamp_alone(
    place: tuple[Installation, str], tmp_path: Path, authority: tuple[str, Path], shifted: int, words: str
) -> None:
    """No second store, no copies: the real key, the real authority, and times that do not fit."""
    installation, incident = place
    settings(installation, anchor_tsa_url=authority[0])
    forged = rewritten(installation, tmp_path / "forged", shifted=shifted)
    settings(forged, anchor_tsa_url=authority[0])
    assert AnchorDuty(forged).keep()
    files, key = an_export(forged, incident, tmp_path / "b")
    audit = judged(files, key, authority=authority[1])
    assert any(words in one.line() for one in (audit.findings if shifted < 0 else audit.faults)), audit.findings
    assert any(one.where.startswith("entries ") for one in audit.findings) is (shifted < 0)


def test_heads_that_nobody_else_vouches_for_are_said_to_be_that(
    place: tuple[Installation, str], tmp_path: Path
) -> None:
    installation, incident = place
    copies = tmp_path / "elsewhere"
    copies.mkdir()
    settings(installation, anchor_directory=str(copies))
    files, key = an_export(installation, incident, tmp_path / "b")
    alone, compared = judged(files, key), judged(files, key, anchors=copies)
    assert alone.sound
    assert any("came with this bundle" in one.what for one in alone.findings)
    assert not compared.findings
