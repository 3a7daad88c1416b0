"""Checkpoints: the head of the log, signed by the log's key as a C2SP note."""

from runbooks.domain.checkpoint import Checkpoint, FormatError, SignatureLine, SignedNote, VerifierKey
from runbooks.domain.errors import LedgerError
from runbooks.domain.merkle import WIDTH, Tree
from tasks.installation import Installation
from tasks.keys import LogKey, holds, log_key


def checkpoint(installation: Installation) -> SignedNote:
    """The head as it is now, signed. The key's own entry is in the log before anything is signed by it."""
    key = log_key(installation)
    size, root = installation.store.head()
    return signed(Checkpoint(origin=key.verifier.name, size=size, root=root), key)


def checkpoint_at(installation: Installation, tree: Tree) -> SignedNote:
    """The head of a beginning of the log, signed; for an export, which seals exactly up to its own entry."""
    key = log_key(installation)
    return signed(Checkpoint(origin=key.verifier.name, size=tree.size, root="sha256:" + tree.root().hex()), key)


def tree_of(installation: Installation, size: int) -> Tree:
    """The tree over the first `size` entries of the log, 64 bytes each in memory; LedgerError when it is not the log's.

    Leaves alone are read, not entries: that they give the root of the head says that none was changed.
    """
    whole, root = installation.store.head()
    leaves = installation.store.leaves(whole)
    tree = Tree(leaves)
    if tree.size != whole or "sha256:" + tree.root().hex() != root:
        raise LedgerError(
            "the ledger contradicts itself: its leaves do not give the root of its head.",
            now="nothing was signed.",
            next_step="`quell check` names the entry; compare the database with the last anchored checkpoint.",
        )
    return tree if size == whole else Tree(leaves[: size * WIDTH])


def signed(head: Checkpoint, key: LogKey) -> SignedNote:
    """The note over this head."""
    body = head.body()
    line = SignatureLine(name=key.verifier.name, key_id=key.verifier.key_id, signature=key.sign(body).hex())
    return SignedNote(text=body.decode(), signatures=(line,))


def open_note(data: bytes, keys: list[VerifierKey]) -> tuple[Checkpoint, VerifierKey]:
    """The checkpoint of a note and which of these keys signed it; FormatError when it is no note of theirs."""
    note = SignedNote.read(data)
    body = note.text.encode()
    for key in keys:
        lines = note.by(key)
        if lines and all(holds(key, bytes.fromhex(line.signature), body) for line in lines):
            head = Checkpoint.read(body)
            if head.origin != key.name:
                raise FormatError(f"the checkpoint is of {head.origin}, the key is of {key.name}")
            return head, key
        if lines:
            raise FormatError(f"the signature that says it is of {key.name} ({key.key_id}) does not hold")
    names = ", ".join(f"{line.name} ({line.key_id})" for line in note.signatures)
    raise FormatError(f"no signature of {', '.join(key.line() for key in keys)}; found: {names}")
