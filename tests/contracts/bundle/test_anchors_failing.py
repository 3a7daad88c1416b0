"""Whatever keeps a head from being anchored is on record, stops nothing, and holds nobody up for long."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from flows.doors.beside import Beside
from runbooks.domain.bucket import BucketSettings
from runbooks.domain.errors import EvidenceError, LedgerError
from runbooks.domain.ledger import EntryType
from tasks.anchors import AnchorDuty
from tasks.installation import Installation
from tasks.stores import open_anchor_directory
from tasks.stores.time_stamps import TimeStamps
from tests.contracts.bundle.ground import an_export, an_incident, judged, settings

NOWHERE = "http://127.0.0.1:9/tsa"
S3 = BucketSettings(region="us-east-1", credentials="env:NOT_SET_ANYWHERE", endpoint_url="http://127.0.0.1:9")


@pytest.fixture
def place(tmp_path: Path, people_keys: dict[str, Path]) -> tuple[Installation, str]:
    return an_incident(tmp_path / "home", people_keys)


def _failed(installation: Installation) -> dict[str, str]:
    found = installation.store.entries(types=(EntryType.ANCHOR_FAILED,))
    return {str(entry.body["kind"]): str(entry.body["because"]) for entry in found}


def test_a_credential_that_is_not_there_is_a_failed_anchor_and_the_export_goes_on(
    place: tuple[Installation, str], tmp_path: Path
) -> None:
    installation, incident = place
    settings(installation, anchor_directory="s3://quell-heads/here", anchor_s3=S3, anchor_tsa_url=NOWHERE)
    assert AnchorDuty(installation).keep()
    failed = _failed(installation)
    assert "NOT_SET_ANYWHERE" in failed["store"]
    assert "no time-stamp" in failed["tsa"], "the other place is tried all the same"
    files, key = an_export(installation, incident, tmp_path / "b")
    assert judged(files, key).sound


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        ({"anchor_tsa_url": "http://127.0.0.1:port/tsa"}, "tsa", "address of the time-stamp authority is none"),
        (
            {"anchor_directory": "s3://quell-heads/here"},
            "store",
            "endpoint_url of the bucket quell-heads is no address",
        ),
    ],
)
def test_an_address_that_is_none_is_a_failed_anchor(
    place: tuple[Installation, str], monkeypatch: pytest.MonkeyPatch, more: dict[str, str], kind: str, said: str
) -> None:
    installation, _ = place
    monkeypatch.setenv("NOT_SET_ANYWHERE", '{"access_key_id": "a", "secret_access_key": "b"}')
    settings(installation, anchor_s3=S3.model_copy(update={"endpoint_url": "http://[::"}), **more)
    assert AnchorDuty(installation).keep()
    assert said in _failed(installation)[kind]


def test_a_vault_that_takes_nothing_is_a_failed_anchor(
    place: tuple[Installation, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, _ = place
    (tmp_path / "elsewhere").mkdir()
    settings(installation, anchor_directory=str(tmp_path / "elsewhere"))

    def full(data: bytes) -> str:
        raise EvidenceError(f"no room for {len(data)} bytes.", now="nothing was stored.", next_step="make room.")

    monkeypatch.setattr(installation.vault, "put", full)
    assert AnchorDuty(installation).keep()
    assert "no room" in _failed(installation)["store"]


@contextmanager
def _server(drip: bytes) -> Iterator[tuple[str, socket.socket]]:
    """Takes a connection and answers byte by byte, 20 ms apart; never, where there is nothing to say."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                line, _ = listening.accept()
                with line:
                    for byte in drip:
                        line.sendall(bytes([byte]))
                        time.sleep(0.02)

        thread = threading.Thread(target=serve if drip else lambda: None)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/tsa", listening
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n"], ids=["headers", "body"])
def test_an_authority_that_drips_its_answer_is_cut_off(head: bytes) -> None:
    with _server(head + b"X-Slow: " + b"a" * 300) as (url, _), pytest.raises(LedgerError, match=r"not within 0\.4 s"):
        TimeStamps(url, seconds=0.4).stamp(b"head")


def test_no_duty_waits_for_an_authority_that_says_nothing(place: tuple[Installation, str]) -> None:
    installation, _ = place
    with _server(b"") as (url, _):
        settings(installation, anchor_tsa_url=url)
        anchors = Beside("anchors", AnchorDuty(installation).keep)
        assert anchors.keep()
        assert not anchors.keep(), "it is still at it, and whoever asks goes on"
    anchors.join(30)
    assert "no time-stamp" in _failed(installation)["tsa"]
    assert anchors.keep()
    anchors.join(30)


def test_a_bucket_for_heads_is_given_up_sooner_than_one_for_evidence() -> None:
    with _server(b"") as (url, _):
        there = url.removesuffix("/tsa")
        place = open_anchor_directory(
            "s3://quell-heads/here", S3.model_copy(update={"endpoint_url": there}),
            lambda _: '{"access_key_id": "a", "secret_access_key": "b"}',
        )  # fmt: skip
        assert place._bucket._connect().meta.config.read_timeout == 10  # type: ignore[attr-defined]
