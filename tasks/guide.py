"""VERIFY.md: how to check a bundle with tools that everybody has. The same text in every bundle of this version."""

_TEXT = """\
# How to check this bundle

It was made by quell and asks for no trust in it. You need one thing that is **not** in here: the log's public key
(`NAME+ID+BASE64`), from whoever runs the installation, through another channel. Keys inside a bundle prove nothing.

## With the small program (Python and `cryptography`)

    python verify.py . LOG-KEY                     take your own copy of verify.py; this one is a convenience
    python verify.py . LOG-KEY tsa-ca.pem          with the certificate of the time-stamp authority

## With quell, anywhere, offline

    quell verify . --key LOG-KEY [--tsa-ca tsa-ca.pem] [--anchor COPY-OF-THE-ANCHOR-DIRECTORY]
    quell replay . --key LOG-KEY                   was it decided rightly? recomputes every judgement

## With stock tools

    sha256sum -c manifest-sha256.txt tagmanifest-sha256.txt
    bagit.py --validate .
    for t in data/anchors/*.tsr; do              # as of the time of the stamp: the authority's certificate may have ended
      at=$(openssl ts -reply -in "$t" -text 2>/dev/null | sed -n 's/^Time stamp: //p')
      openssl ts -verify -attime "$(date -d "$at" +%s)" -data "${t%.tsr}.body" -in "$t" -CAfile tsa-ca.pem
    done
    for d in data/decisions/*/; do
      ssh-keygen -Y verify -f "$d/allowed_signers" -I "$(cat "$d/person")" -n "$(cat "$d/namespace")" \\
        -O verify-time="$(cat "$d/verify-time")" -s "$d/statement.json.sig" < "$d/statement.json"
    done

## What is in it

| Where | What |
|---|---|
| `data/report/report.html` | the story, for a person; its digest is in the last entry |
| `data/checkpoint` | the head of the log, a C2SP signed note; `.body` is the signed part |
| `data/ledger/entries.jsonl` | every entry of this incident, exact bytes, one per line; `proofs.jsonl` are RFC 6962 paths |
| `data/ledger/installation.jsonl` | keys, activated configurations and anchors that it rests on |
| `data/objects/NAME-SHA256` | what entries refer to by digest |
| `data/evidence/ID/` | collections: `leaves.bin` 32 bytes each; `items-NNN.bin` index (8), salt (16), length (4), bytes |
| `data/decisions/ENTRY/` | what somebody signed, the signature, and whose keys were allowed at that moment |
| `data/anchors/SIZE.*` | earlier heads kept elsewhere, with their time-stamps; `consistency.jsonl` joins them to this one |

A leaf is SHA-256(0x00, SHA-256(salt, bytes)). What was not handed over is counted in `bag-info.txt`; its leaves are
still here, so it cannot be exchanged later. A decision without `.sig` was proven by a one-time code: attested by quell,
not signed by the person; both programs say so when anything else that a person must sign is without a signature. Who may
activate a configuration unsigned: the installation, where the policy before it names no owners.

## What it cannot show

What was never recorded. What the operator did with the log's key before the first time-stamp, or your first copy of an
anchored head, that covers an entry: `quell verify` says which entries were stamped late. Whether a source told the truth.
"""


def guide() -> bytes:
    """The text, as it stands in every bundle."""
    return _TEXT.encode()
