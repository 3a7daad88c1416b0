"""C2SP signed notes and checkpoints: the specification's own examples, and everything that is not one."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from runbooks.domain.checkpoint import Checkpoint, FormatError, SignatureLine, SignedNote, VerifierKey
from runbooks.domain.timestamp import NoStampError, read_response, request_for

# https://c2sp.org/signed-note, its example note and key.
NOTE = (
    "This is an example message.\n\n"
    "\N{EM DASH} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
# https://c2sp.org/tlog-checkpoint, its example body.
BODY = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_the_specifications_example_note_verifies() -> None:
    note, key = SignedNote.read(NOTE.encode()), VerifierKey.read(VKEY)
    assert (key.key_id, key.line(), note.encoded()) == ("530d903a", VKEY, NOTE.encode())
    line = note.by(key)[0]
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public)).verify(
        bytes.fromhex(line.signature), note.text.encode()
    )


def test_the_specifications_example_checkpoint_is_read_and_written() -> None:
    head = Checkpoint.read(BODY)
    assert (head.origin, head.size, head.body()) == ("example.com/behind-the-sofa", 20852163, BODY)


def test_a_key_whose_base64_holds_plus_signs_is_split_on_the_first_two_only() -> None:
    for number in range(200):
        key = VerifierKey(name="log", public=f"{number:02x}" + "fb" * 31)
        if "+" in key.line().split("+", 2)[2]:
            assert VerifierKey.read(key.line()) == key
            return
    raise AssertionError("no key with a plus was tried")


def test_lines_of_unknown_keys_are_ignored_and_leave_room_for_witnesses() -> None:
    note, key = SignedNote.read(NOTE.encode()), VerifierKey.read(VKEY)
    witness = SignatureLine(name="witness.example", key_id="00000000", signature="ab" * 72)
    more = SignedNote.read(note.model_copy(update={"signatures": (witness, *note.signatures)}).encoded())
    assert more.by(key) == note.by(key)
    assert len(more.signatures) == 2


WRONG_BODIES = {
    "an extension line": BODY + b"more\n",
    "a size with a leading zero": BODY.replace(b"20852163", b"020852163"),
    "a negative size": BODY.replace(b"20852163", b"-5"),
    "no origin": BODY.replace(b"example.com/behind-the-sofa", b""),
    "an origin with a space": BODY.replace(b"behind-the-sofa", b"behind the sofa"),
    "a short root": b"o\n1\nAAAA\n",
    "a root that is no base64": b"o\n1\n*\n",
    "a root in another form": BODY.replace(b"q2I=", b"q2J="),
    "no end": BODY[:-1],
    "carriage returns": BODY.replace(b"\n", b"\r\n"),
    "not UTF-8": b"\xff" + BODY,
    "nothing": b"",
}


@pytest.mark.parametrize("name", WRONG_BODIES)
def test_what_is_no_checkpoint_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        Checkpoint.read(WRONG_BODIES[name])


WRONG_NOTES = {
    "no signature": b"text\n\n",
    "no empty line": b"text\n\xe2\x80\x94 a AAAAAAA=\n",
    "a hyphen for the dash": NOTE.replace("\N{EM DASH}", "-").encode(),
    "a key name with a plus": NOTE.replace("example.com/foo U", "example.com+foo U").encode(),
    "three words": NOTE.replace("foo U", "foo x U").encode(),
    "a signature cut": (NOTE[: NOTE.index("Uw2QOkn8")] + "AAAA\n").encode(),
    "no end": NOTE[:-1].encode(),
    "a hundred and one lines": (NOTE + NOTE.split("\n")[2] * 0 + (NOTE.split("\n")[2] + "\n") * 100).encode(),
    "too large": b"x" * 70_000,
}


@pytest.mark.parametrize("name", WRONG_NOTES)
def test_what_is_no_note_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        SignedNote.read(WRONG_NOTES[name])


@pytest.mark.parametrize(
    "text",
    ["", "a", "a+b", "a b+530d903a+AA==", VKEY.replace("530d903a", "530d903b"), VKEY[:-4], VKEY.replace("+Ae", "+Be"),
     "x+00000000+" + base64.b64encode(bytes(33)).decode()],
)  # fmt: skip
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        VerifierKey.read(text)


@pytest.mark.parametrize(
    "data",
    [b"", b"0", b"\x30\x03\x02\x01\x00", b"\x30\x84\xff\xff\xff\xff", b"\x30" * 900, b"\x30\x05\x30\x03\x02\x01\x02"],
)
def test_what_is_no_time_stamp_is_refused(data: bytes) -> None:
    with pytest.raises(NoStampError):
        read_response(data)


def test_a_time_stamp_request_is_the_one_that_openssl_makes() -> None:
    """`openssl ts -query -sha256 -cert` over 32 zero bytes, with nonce 0x80…: DER by hand, byte for byte."""
    found = request_for(bytes(32), 0x8000000000000001).hex()
    assert found == ("30440201013031300d060960864801650304020105000420" + "00" * 32 + "02090080000000000000010101ff")
