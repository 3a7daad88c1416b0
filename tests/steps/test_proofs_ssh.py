"""What quell says of an OpenSSH signature, ssh-keygen must say too: compared on everything accepted and refused here."""

import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512, HashAlgorithm
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.approval import Answer
from runbooks.domain.errors import ApprovalError
from tasks.proofs import sign_ssh, verify_ssh
from tasks.sshsig import MAX_ARMOR, STRICTER
from tests.steps import openssh
from tests.steps.openssh import Forge, a_statement, armor, dearmor, mpint, openssh_accepts, openssh_holds, string

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs the OpenSSH client")
MESSAGE = a_statement().canonical()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("keys")
    return folder, {kind: openssh.keygen(folder, kind, *how) for kind, how in openssh.KINDS.items()}


def allowed(line: str) -> str:
    kind, blob = line.split()[:2]
    return f'alice namespaces="quell-decision" {kind} {blob}\n'


def quell_accepts(armored: str, line: str, **changes: object) -> bool:
    try:
        verify_ssh(a_statement(**changes), armored, [line])
    except ApprovalError as error:
        return not (error.problem and error.now and error.next_step)
    return True


def agree(armored: str, line: str, folder: Path, *, stricter: str | None = None) -> bool:
    """Both verdicts; equal, unless this is a listed case in which quell alone refuses."""
    ours, theirs = quell_accepts(armored, line), openssh_accepts(armored, MESSAGE, allowed(line), folder)
    if stricter is not None:
        assert stricter in STRICTER
        assert (ours, theirs) == (False, True)
    else:
        assert ours == theirs
    return ours


@pytest.mark.parametrize("kind", openssh.KINDS)
def test_every_ordinary_key_signs(kind: str, keys: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, lines = keys
    armored = sign_ssh(a_statement(), folder / kind)
    proof = verify_ssh(a_statement(), armored, [lines["ed25519"], lines[kind]])
    assert proof.signature == armored
    assert agree(armored, lines[kind], tmp_path)
    assert openssh_holds(armored, MESSAGE, tmp_path)
    for change in (
        {"reason": "another"},
        {"answer": Answer.DENY},
        {"person": "bob"},
        {"request": "sha256:" + "0" * 64},
    ):
        assert not quell_accepts(armored, lines[kind], **change)
        assert not openssh_holds(armored, a_statement(**change).canonical(), tmp_path)
    assert not quell_accepts(armored, lines["ed25519" if kind != "ed25519" else "rsa2048"])


@pytest.mark.parametrize("kind", openssh.KINDS)
def test_a_flipped_byte_is_refused(kind: str, keys: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, lines = keys
    armored = sign_ssh(a_statement(), folder / kind)
    blob = dearmor(armored)
    for position in range(len(blob)):  # every byte of what was signed and of the signature
        damaged = blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :]
        assert not quell_accepts(armor(damaged), lines[kind]), position
    for position in range(0, len(armored), 1 if kind == "ed25519" else 9):
        for flip in (1, 2, 32):
            damaged_text = armored[:position] + chr(ord(armored[position]) ^ flip) + armored[position + 1 :]
            assert not quell_accepts(damaged_text, lines[kind]), position
    for position in range(0, len(blob), 5):  # and OpenSSH says the same
        damaged = blob[:position] + bytes([blob[position] ^ 0x80]) + blob[position + 1 :]
        assert not agree(armor(damaged), lines[kind], tmp_path)


def test_a_flipped_byte_of_the_statement_is_refused(keys: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, lines = keys
    reason = a_statement().reason
    armored = sign_ssh(a_statement(), folder / "ed25519")
    for position in range(len(reason)):
        other = reason[:position] + chr(ord(reason[position]) ^ 1) + reason[position + 1 :]
        assert not quell_accepts(armored, lines["ed25519"], reason=other)
    assert not openssh_holds(armored, MESSAGE + b"\n", tmp_path)


@pytest.mark.parametrize("device", [openssh.device_ed25519, openssh.device_ecdsa])
def test_security_keys_sign(device: Callable[..., Forge], tmp_path: Path) -> None:
    for flags in (0x01, 0x05):  # touched; touched and PIN
        forge = device(flags=flags)
        assert agree(forge.make(MESSAGE), forge.line, tmp_path)
    assert not agree(forge.make(MESSAGE), device().line, tmp_path)  # another device
    untouched = device(flags=0)
    agree(untouched.make(MESSAGE), untouched.line, tmp_path, stricter=STRICTER[1])
    blob = dearmor(forge.make(MESSAGE))
    for position in range(0, len(blob), 3):
        damaged = armor(blob[:position] + bytes([blob[position] ^ 0x10]) + blob[position + 1 :])
        assert not agree(damaged, forge.line, tmp_path)


def test_another_application_is_another_key(tmp_path: Path) -> None:
    forge = openssh.device_ed25519(application=b"ssh:elsewhere")
    assert agree(forge.make(MESSAGE), forge.line, tmp_path)
    renamed = forge.but(key=forge.key[: -len(string(b"ssh:elsewhere"))] + string(b"ssh:"))
    assert not agree(forge.make(MESSAGE), renamed.line, tmp_path)
    assert not agree(renamed.make(MESSAGE), renamed.line, tmp_path)


def test_what_a_signature_may_not_say(tmp_path: Path) -> None:
    forge = openssh.ed25519_forge(ed25519.Ed25519PrivateKey.generate())
    assert agree(forge.make(MESSAGE), forge.line, tmp_path)
    assert agree(forge.but(hash_name=b"sha256").make(MESSAGE), forge.line, tmp_path)
    wrong: list[dict[str, object]] = [{"magic": b"SSHSIK"}, {"version": 2}, {"namespace": b"git"}, {"namespace": b""}, {"hash_name": b"sha1"},
             {"hash_name": b"sha384"}, {"hash_name": b"SHA512"}, {"hash_name": b"\xff"}, {"tail": b"\0"}, {"inner_tail": b"\0"},
             {"namespace": DECISION + b"\0"}, {"namespace": DECISION.upper()}]  # fmt: skip
    for change in wrong:
        assert not agree(forge.but(**change).make(MESSAGE), forge.line, tmp_path), change
    leniencies: list[dict[str, object]] = [{"version": 0}, {"reserved": b"x"}]
    for lenient in leniencies:
        agree(forge.but(**lenient).make(MESSAGE), forge.line, tmp_path, stricter=STRICTER[4])
    good = forge.make(MESSAGE)
    for text in ("", good[1:], good.replace("BEGIN", "begin"), good[:-40], good.replace("\n", " "), good[:90] + good[99:],
                 good.replace("\n-----END", "=\n-----END"), good.replace("-----END", "----END"), "\ufeff" + good):  # fmt: skip
        assert not agree(text, forge.line, tmp_path), text
    agree(good + "more\n", forge.line, tmp_path, stricter=STRICTER[6])
    agree(good.replace("U1NIU0lH", "U1NI U0lH", 1), forge.line, tmp_path, stricter=STRICTER[6])


def test_line_ends_and_blanks_around_are_forgiven_and_stored_in_one_form(tmp_path: Path) -> None:
    """A form field brings CRLF and blanks; OpenSSH does not read those, so what is stored is the form that it reads."""
    forge = openssh.ed25519_forge(ed25519.Ed25519PrivateKey.generate())
    good = forge.make(MESSAGE)
    for text in (good.replace("\n", "\r\n"), "\n " + good + " \n\n", good.rstrip("\n")):
        proof = verify_ssh(a_statement(), text, [forge.line])
        assert proof.signature == good
    assert openssh_accepts(good, MESSAGE, allowed(forge.line), tmp_path)


DECISION = b"quell-decision"


def rsa_forge(private: rsa.RSAPrivateKey, name: bytes, algorithm: HashAlgorithm, *, shorten: bool = False) -> Forge:
    numbers = private.public_key().public_numbers()

    def sign(data: bytes) -> bytes:
        made = private.sign(data, padding.PKCS1v15(), algorithm)
        return string(name) + string(made.lstrip(b"\0") if shorten else made)

    return Forge(key=string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n), sign=sign)


def test_rsa(tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 2048)
    taken: tuple[tuple[bytes, HashAlgorithm], ...] = ((b"rsa-sha2-512", SHA512()), (b"rsa-sha2-256", SHA256()))
    for name, algorithm in taken:
        forge = rsa_forge(private, name, algorithm)
        assert agree(forge.make(MESSAGE), forge.line, tmp_path)
    refused: tuple[tuple[bytes, HashAlgorithm], ...] = (
        (b"ssh-rsa", SHA1()),  # noqa: S303 - to be refused
        (b"rsa-sha2-512", SHA256()),
        (b"ssh-rsa", SHA512()),
    )
    for name, algorithm in refused:
        forge = rsa_forge(private, name, algorithm)
        assert not agree(forge.make(MESSAGE), forge.line, tmp_path)
    forge, whole = (rsa_forge(private, b"rsa-sha2-512", SHA512(), shorten=short) for short in (True, False))
    for number in range(5000):  # one in 256 begins with a zero byte, which some agents drop
        statement = a_statement(reason=str(number))
        made = forge.make(statement.canonical())
        if len(dearmor(made)) < len(dearmor(whole.make(MESSAGE))):
            break
    assert openssh_accepts(made, statement.canonical(), allowed(forge.line), tmp_path)
    assert verify_ssh(statement, made, [forge.line]).key


def test_short_rsa_is_refused(tmp_path: Path) -> None:
    forge = rsa_forge(rsa.generate_private_key(65537, 1024), b"rsa-sha2-512", SHA512())  # noqa: S505 - to be refused
    agree(forge.make(MESSAGE), forge.line, tmp_path, stricter=STRICTER[0])


def test_padded_numbers_and_large_s_are_refused(tmp_path: Path) -> None:
    forge = openssh.ecdsa_forge()
    assert agree(forge.make(MESSAGE), forge.line, tmp_path)
    padded = openssh.ecdsa_forge(padding=1)
    agree(padded.make(MESSAGE), padded.line, tmp_path, stricter=STRICTER[5])
    forge = openssh.ed25519_forge(ed25519.Ed25519PrivateKey.generate())
    blob = dearmor(forge.make(MESSAGE))
    order = 2**252 + 27742317777372353535851937790883648493  # RFC 8032 §5.1
    larger = (int.from_bytes(blob[-32:], "little") + order).to_bytes(32, "little")
    agree(armor(blob[:-32] + larger), forge.line, tmp_path, stricter=STRICTER[5])


def test_certificates_do_not_count(keys: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, lines = keys
    for name in ("ed25519", "ed25519.pub"):
        shutil.copy(folder / name, tmp_path / name)
    command = [
        "ssh-keygen",
        "-q",
        "-s",
        str(folder / "ecdsa256"),
        "-I",
        "alice",
        "-n",
        "alice",
        str(tmp_path / "ed25519.pub"),
    ]
    subprocess.run(command, check=True)
    certificate = (tmp_path / "ed25519-cert.pub").read_text()
    armored = sign_ssh(a_statement(), tmp_path / "ed25519")
    assert not quell_accepts(armored, certificate)
    blob = base64.b64decode(certificate.split()[1])
    whole = dearmor(armored)
    key = base64.b64decode(lines["ed25519"].split()[1])
    swapped = armor(whole.replace(string(key), string(blob)))
    assert not quell_accepts(swapped, lines["ed25519"])
    assert not openssh_accepts(swapped, MESSAGE, allowed(lines["ed25519"]), tmp_path)


def test_the_refusal_helps_at_two_in_the_morning() -> None:
    forge = openssh.ed25519_forge(ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(ApprovalError, match=r"found 'git'.*ssh-keygen -Y sign -n quell-decision -f KEY"):
        verify_ssh(a_statement(), forge.but(namespace=b"git").make(MESSAGE), [forge.line])
    with pytest.raises(ApprovalError, match=r"listed for alice: none"):
        verify_ssh(a_statement(), forge.make(MESSAGE), [])
    with pytest.raises(ApprovalError, match=r"1 listed lines cannot be read"):
        verify_ssh(a_statement(), forge.make(MESSAGE), ["nonsense"])
    with pytest.raises(ApprovalError) as caught:
        verify_ssh(a_statement(), forge.but(namespace="\u202e\x1b[31m".encode()).make(MESSAGE), [forge.line])
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


SIGNED = openssh.ed25519_forge(ed25519.Ed25519PrivateKey.generate())
GOOD = SIGNED.make(MESSAGE)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=400),
        st.binary(max_size=400).map(armor),
        st.binary(max_size=300).map(lambda tail: armor(b"SSHSIG\0\0\0\1" + tail)),
        st.integers(0, len(GOOD) - 1).map(lambda end: GOOD[:end]),
        st.tuples(st.integers(0, 200), st.binary(max_size=8)).map(lambda cut: armor(dearmor(GOOD)[: cut[0]] + cut[1])),
        st.just("A" * (MAX_ARMOR + 1)),
    )
)
def test_whatever_arrives_only_an_approval_error_comes_out(armored: str) -> None:
    if armored.strip(" \n") != GOOD.strip():
        with pytest.raises(ApprovalError):
            verify_ssh(a_statement(), armored, [SIGNED.line])


def test_base64_has_one_form(tmp_path: Path) -> None:
    """The spare bits before the padding must be zero, or one signature would have many texts."""
    tried = 0
    for application in (b"ssh:", b"ssh:1", b"ssh:12"):
        forge = openssh.device_ed25519(application=application)
        good = forge.make(MESSAGE)
        assert agree(good, forge.line, tmp_path)
        head, padding_signs, tail = good.partition("=")
        if padding_signs:
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            changed = head[:-1] + letters[letters.index(head[-1]) + 1] + padding_signs + tail
            assert base64.b64decode("".join(changed.split("\n")[1:-2])) == dearmor(good)
            assert not agree(changed, forge.line, tmp_path)
            tried += 1
    assert tried == 2
