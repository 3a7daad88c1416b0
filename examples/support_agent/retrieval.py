"""Finds the documents that share words with a question. Read from the folder each time: a poisoned page works at once."""

from __future__ import annotations

import re
from pathlib import Path

from examples.support_agent.layout import Frozen

WORD = re.compile(r"[a-z]{4,}")
TITLE_WEIGHT = 3


class Document(Frozen):
    """A page and how many words it shares with the question."""

    name: str
    text: str
    score: int


def retrieve(folder: Path, question: str, *, limit: int = 2) -> list[Document]:
    """The best ``limit`` pages that share at least one word with ``question``, best first."""
    wanted = set(WORD.findall(question.lower()))
    found = []
    for path in sorted(folder.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        score = len(wanted & set(WORD.findall(text.lower())))
        score += TITLE_WEIGHT * len(wanted & set(WORD.findall(path.stem.lower().replace("_", " "))))
        if score:
            found.append(Document(name=path.name, text=text, score=score))
    return sorted(found, key=lambda document: (-document.score, document.name))[:limit]
