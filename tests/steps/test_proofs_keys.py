"""Key lines, allowed signers and signing: the same words as OpenSSH's."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.configuration import Configuration, Person, Policy
from runbooks.domain.errors import ApprovalError, ConfigurationError
from tasks.proofs import allowed_signers, fingerprint, listed_fingerprints, sign_ssh, verify_ssh
from tests.steps import openssh
from tests.steps.openssh import a_statement, openssh_accepts

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs the OpenSSH client")
MESSAGE = a_statement().canonical()


def people(**listed: Person) -> Configuration:
    return Configuration(people=listed, policy=Policy(rights=()), systems={}, runbooks={})


def someone(*lines: str, valid_from: str | None = None, valid_until: str | None = None) -> Person:
    return Person(name="Somebody", roles=("lead",), ssh_keys=lines, valid_from=valid_from, valid_until=valid_until)


@pytest.mark.parametrize("make", [openssh.device_ed25519, openssh.device_ecdsa, openssh.ecdsa_forge])
def test_fingerprint_is_the_one_that_ssh_keygen_prints(make: Callable[[], openssh.Forge], tmp_path: Path) -> None:
    line = make().line
    (tmp_path / "key.pub").write_text(line + "\n")
    printed = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True
    )
    assert fingerprint(line) == printed.stdout.split()[1]


@pytest.mark.parametrize(
    "line",
    ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3M= x", 'from="*" ssh-ed25519 AAAA',
     "ssh-ed25519-cert-v01@openssh.com AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----"],
)  # fmt: skip
def test_a_line_that_may_not_be_listed(line: str) -> None:
    with pytest.raises(ApprovalError, match=r"public key line cannot be used"):
        fingerprint(line)
    with pytest.raises(ConfigurationError, match=r"people\.alice\.ssh_keys\[0\]"):
        listed_fingerprints(people(alice=someone(line)))


def test_two_lines_in_one_are_refused() -> None:
    line = openssh.ecdsa_forge().line
    with pytest.raises(ApprovalError):
        fingerprint(f"{line}\n{line}")
    with pytest.raises(ApprovalError):
        fingerprint(line.replace("ecdsa-sha2-nistp256 ", "ecdsa-sha2-nistp384 "))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["", "ssh-ed25519 ", "ssh-rsa ", "sk-ssh-ed25519@openssh.com "]))
def test_whatever_line_only_an_approval_error_comes_out(text: str, kind: str) -> None:
    with pytest.raises(ApprovalError):
        fingerprint(kind + text)


def test_one_key_is_one_person() -> None:
    line = openssh.ecdsa_forge().line
    commented = line.replace("forged", "bob@elsewhere")
    with pytest.raises(ConfigurationError, match=r"people\.bob\.ssh_keys.*listed for alice too"):
        listed_fingerprints(people(alice=someone(line), bob=someone(commented)))
    with pytest.raises(ConfigurationError):
        listed_fingerprints(people(alice=someone(line, line)))
    assert listed_fingerprints(people(alice=someone(line))) == {fingerprint(line): line}


def test_allowed_signers_says_what_quell_says(tmp_path: Path) -> None:
    early, late = "2020-01-01T00:00:00.000000000Z", "2021-01-01T00:00:00.000000000Z"
    forges = {name: openssh.ecdsa_forge() for name in ("alice", "bob", "carol", "dora")}
    text = allowed_signers(
        people(
            alice=someone(forges["alice"].line),
            bob=someone(forges["bob"].line, valid_until=early),
            carol=someone(forges["carol"].line, valid_from=early),
            dora=someone(forges["dora"].line, valid_from=early, valid_until=late),
        )
    )
    verdicts = {
        name: openssh_accepts(forge.make(MESSAGE), MESSAGE, text, tmp_path, person=name)
        for name, forge in forges.items()
    }
    assert verdicts == {"alice": True, "bob": False, "carol": True, "dora": False}
    assert not openssh_accepts(forges["alice"].make(MESSAGE), MESSAGE, text, tmp_path, person="carol")
    other = forges["alice"].but(namespace=b"file").make(MESSAGE)
    assert not openssh_accepts(other, MESSAGE, text, tmp_path)
    assert "forged" not in text


def test_a_private_key_never_leaves_ssh_keygen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    openssh.keygen(tmp_path, "key", "-t", "ed25519")
    sign_ssh(a_statement(), tmp_path / "key")
    out, err = capfd.readouterr()
    assert out == ""
    assert "PRIVATE" not in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["key", "key.pub"]


def test_the_agent_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = openssh.keygen(tmp_path, "key", "-t", "ed25519")
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        for _ in range(200):
            if socket.exists():
                break
            with pytest.raises(subprocess.TimeoutExpired):
                agent.wait(0.02)
        subprocess.run(["ssh-add", "-q", str(tmp_path / "key")], check=True)
        (tmp_path / "key").unlink()
        for armored in (
            sign_ssh(a_statement(), None, agent=True, public_key=line),
            sign_ssh(a_statement(), tmp_path / "key.pub", agent=True),
        ):
            assert verify_ssh(a_statement(), armored, [line]).key == fingerprint(line)
        with pytest.raises(ApprovalError, match=r"ssh-add -l"):
            sign_ssh(a_statement(), None, agent=True, public_key=openssh.ecdsa_forge().line)
    finally:
        agent.terminate()
        agent.wait()


def test_signing_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApprovalError, match=r"ssh-keygen made no signature"):
        sign_ssh(a_statement(), tmp_path / "nowhere")
    with pytest.raises(ApprovalError, match=r"expected one key"):
        sign_ssh(a_statement(), None)
    with pytest.raises(ApprovalError, match=r"expected one key"):
        sign_ssh(a_statement(), None, public_key=openssh.ecdsa_forge().line)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ApprovalError, match=r"install the OpenSSH client"):
        sign_ssh(a_statement(), tmp_path / "key")
