"""The arguments by which a person proves to be that person, and how a signature is made or read from them."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from runbooks.domain.errors import ApprovalError
from tasks.proofs import sign_bytes

LARGEST = 64 * 1024


def add_person(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """`--as`."""
    parser.add_argument("--as", dest="person", metavar="PERSON", required=required, help="your name in people.toml")


def add_signing(parser: argparse.ArgumentParser) -> None:
    """The ways to an OpenSSH signature."""
    group = parser.add_argument_group("your SSH key signs (hardware keys too)")
    group.add_argument("--key", metavar="FILE", type=Path, help="private key file, for example ~/.ssh/id_ed25519")
    group.add_argument("--agent", action="store_true", help="let the running ssh-agent sign, with --public-key")
    group.add_argument("--public-key", metavar="FILE", type=Path, help="the .pub file of a key in the ssh-agent")
    group.add_argument("--signature", metavar="FILE", help="a signature made elsewhere; - reads standard input")
    group.add_argument(
        "--print-statement", action="store_true", help="print the exact bytes to sign elsewhere, and do nothing else"
    )


def signature_from(args: argparse.Namespace, message: bytes, namespace: str) -> str:
    """The armored signature that the arguments ask for; empty when they name no way to one."""
    if args.signature:
        return sys.stdin.read(LARGEST) if args.signature == "-" else _text(Path(args.signature), "signature")
    if args.agent or args.public_key:
        if args.public_key is None:
            raise ApprovalError(
                "--agent needs the key's .pub file: expected --public-key FILE, found none.",
                now="nothing was signed.", next_step="`ssh-add -L` shows the keys in the agent.",
            )  # fmt: skip
        line = _text(args.public_key, "public key").strip()
        return sign_bytes(message, None, agent=True, public_key=line, namespace=namespace)
    if args.key:
        key = args.key.expanduser()
        if not key.is_file():
            raise ApprovalError(
                f"expected your private SSH key in {key}, found no file there.",
                now="nothing was signed.", next_step="give the file that `ssh-keygen` made, without .pub.",
            )  # fmt: skip
        return sign_bytes(message, key, namespace=namespace)
    return ""


def print_statement(message: bytes, namespace: str, again: list[str]) -> int:
    """The bytes alone on standard output; on standard error how to sign them and how to hand the signature in."""
    sys.stdout.buffer.write(message)
    sys.stdout.buffer.flush()
    print(
        "\nSave exactly these bytes (no line end after them) as FILE, then:\n"
        f"  ssh-keygen -Y sign -n {namespace} -f YOUR_KEY FILE\n"
        f"  {shlex.join(again)} --signature FILE.sig",
        file=sys.stderr,
    )
    return 0


def usable_name(error: Callable[[str], None], name: str) -> str:
    """A short lower-case name, or a wrong use that says so."""
    cleaned = name.strip().lower()
    if not cleaned or not cleaned[0].isalnum() or not all(c.isascii() and (c.isalnum() or c in "._-") for c in cleaned):
        error(f"expected a short name (letters, digits, - _ .), found {name!r}")
    return cleaned


def _text(file: Path, what: str) -> str:
    try:
        with file.expanduser().open(encoding="utf-8") as opened:
            return opened.read(LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        raise ApprovalError(
            f"expected a readable {what} in {file}, found {getattr(error, 'strerror', None) or 'something else'}.",
            now="nothing was signed and nothing was decided.", next_step="give the right file.",
        ) from error  # fmt: skip
