"""The timeline of one incident as a picture: four lanes, time from left to right, long quiet stretches cut short.

Evidence in squares, consent in ticks, containment in bars, recovery in diamonds. A bar is striped from "applied" (the
system said yes) to "effective" (the harmful path was refused), and solid from there on until it was given back: what
was believed and what was known are never one colour. Shapes differ too, so that it reads in grey and for everybody.
"""

from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from runbooks.domain.case import ActionRow
from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.report_words import brief, plain

LEFT, WIDTH, RIGHT = 150, 1000, 26
"""Where time begins, the whole width, and what stays free at the right; SVG units."""
_ROW, _HEAD = 34, 26
_MOST = 0.14
"""Share of the whole that one quiet stretch may take before it is cut."""


@dataclass
class _Drawing:
    """Pieces of SVG, and how far down they reach."""

    parts: list[str] = field(default_factory=list)
    y: float = 34.0

    def add(self, text: str) -> None:
        self.parts.append(text)


class _Scale:
    """Instants to x. Stretches longer than their share are cut and marked."""

    def __init__(self, instants: list[Instant]) -> None:
        self._at = sorted(set(instants))
        gaps = [max(1, milliseconds_between(a, b)) for a, b in pairwise(self._at)] or [1]
        limit = max(1.0, _MOST * sum(gaps))
        for _ in range(6):  # cutting one stretch gives the others a larger share
            limit = max(1.0, _MOST * sum(min(gap, limit) for gap in gaps))
        shown = [min(float(gap), limit) for gap in gaps]
        unit = (WIDTH - LEFT - RIGHT) / sum(shown)
        self._x = [float(LEFT)]
        for width in shown:
            self._x.append(self._x[-1] + width * unit)
        self.cuts = [
            ((self._x[i] + self._x[i + 1]) / 2, gap)
            for i, gap in enumerate(gaps)
            if gap > shown[i] * 1.5 and gap > 3000
        ]

    def __call__(self, instant: Instant) -> float:
        """Between two known instants, in proportion."""
        if instant <= self._at[0]:
            return self._x[0]
        for i, (before, after) in enumerate(pairwise(self._at)):
            if instant <= after:
                share = milliseconds_between(before, instant) / max(1, milliseconds_between(before, after))
                return self._x[i] + share * (self._x[i + 1] - self._x[i])
        return self._x[-1] if len(self._at) > 1 else float(LEFT)

    @property
    def first(self) -> Instant:
        return self._at[0]


def picture(entries: list[LedgerEntry], rows: tuple[ActionRow, ...]) -> str:
    """The whole picture as one SVG element; empty when there is nothing to draw."""
    instants = [e.at for e in entries if e.type in _DRAWN]
    instants += [at for row in rows for at in (row.applied_at, row.effective_at, row.undone_at) if at is not None]
    if not instants:
        return ""
    scale, drawing = _Scale(instants), _Drawing()
    end = max(instants)
    for name, draw in (("Evidence", _evidence), ("Consent", _consent)):
        _lane(drawing, name)
        draw(drawing, scale, entries)
    _lane(drawing, "Containment")
    drawing.y += 8
    _containment(drawing, scale, rows, end)
    _lane(drawing, "Recovery")
    _recovery(drawing, scale, entries)
    bottom = drawing.y + 8
    _axis(drawing, scale, entries, bottom)
    inner = "\n".join(_cuts(scale, bottom) + drawing.parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 40:.0f}" role="img" aria-label="Timeline of the incident">\n'
        '<defs><pattern id="striped" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="7" height="7" class="unsure"/><rect width="3" height="7" class="stripe"/></pattern></defs>\n'
        f"{inner}\n</svg>"
    )


_DRAWN = frozenset({
    EntryType.INCIDENT_OPENED, EntryType.COLLECTION_SEALED, EntryType.EVIDENCE_SEALED, EntryType.EVIDENCE_WAIVED,
    EntryType.PLAN_MADE, EntryType.APPROVAL_REQUESTED, EntryType.DECISION_RECORDED, EntryType.REQUEST_GRANTED,
    EntryType.REQUEST_DENIED, EntryType.REQUEST_EXPIRED, EntryType.TRIALS_MADE, EntryType.RECOVERY_JUDGED,
    EntryType.INCIDENT_CLOSED,
})  # fmt: skip


def _lane(drawing: _Drawing, name: str) -> None:
    drawing.y += 12
    drawing.add(f'<line class="rule" x1="0" x2="{WIDTH}" y1="{drawing.y:.0f}" y2="{drawing.y:.0f}"/>')
    drawing.add(f'<text class="lane" x="0" y="{drawing.y + 21:.0f}">{name}</text>')
    drawing.y += 4


def _label(drawing: _Drawing, x: float, y: float, text: str, kind: str = "note") -> None:
    """Beside a mark: at its right, or at its left when the picture ends."""
    long = len(text) * 6.3
    where, anchor = (x + 13, "start") if x + long + 14 < WIDTH else (x - 13, "end")
    drawing.add(
        f'<text class="{kind}" x="{where:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{escape(plain(text))}</text>'
    )


def _evidence(drawing: _Drawing, scale: _Scale, entries: list[LedgerEntry]) -> None:
    y = drawing.y + _ROW / 2
    found = [e for e in entries if e.type is EntryType.COLLECTION_SEALED]
    done = [e for e in entries if e.type in (EntryType.EVIDENCE_SEALED, EntryType.EVIDENCE_WAIVED)]
    begin = scale(entries[0].at)
    if done:
        drawing.add(f'<line class="span" x1="{begin:.1f}" x2="{scale(done[0].at):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for entry in found:
        drawing.add(f'<rect class="item" x="{scale(entry.at) - 2:.1f}" y="{y - 5:.1f}" width="4" height="10"/>')
    for entry in done:
        sealed = entry.type is EntryType.EVIDENCE_SEALED
        drawing.add(
            f'<rect class="{"seal" if sealed else "bad"}" x="{scale(entry.at) - 7:.1f}" y="{y - 7:.1f}" width="14" height="14" rx="2"/>'
        )
        gaps = len(entry.body.get("gaps") or [])
        words = f"sealed: {entry.body.get('items')} items" + (f", {gaps} named gap{'s' * (gaps != 1)}" if gaps else "")
        _label(drawing, scale(entry.at), y, words if sealed else "waived: unsafe to wait", "said")
    drawing.y += _ROW


def _consent(drawing: _Drawing, scale: _Scale, entries: list[LedgerEntry]) -> None:
    ends = {
        EntryType.REQUEST_GRANTED: "granted",
        EntryType.REQUEST_DENIED: "denied",
        EntryType.REQUEST_EXPIRED: "expired",
    }
    asked = [e for e in entries if e.type is EntryType.APPROVAL_REQUESTED]
    for request in asked:
        y = drawing.y + _ROW / 2
        digest = request.subject["request"]
        mine = [e for e in entries if e.subject.get("request") == digest]
        settled = next((e for e in mine if e.type in ends), None)
        start, stop = scale(request.at), scale(settled.at if settled else entries[-1].at)
        drawing.add(f'<line class="span" x1="{start:.1f}" x2="{stop:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawing.add(f'<circle class="asked" cx="{start:.1f}" cy="{y:.1f}" r="5"/>')
        for decision in (e for e in mine if e.type is EntryType.DECISION_RECORDED):
            x = scale(decision.at)
            drawing.add(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 8:.1f}" y2="{y + 8:.1f}"/>')
        people = ", ".join(dict.fromkeys(e.actor.name for e in mine if e.type is EntryType.DECISION_RECORDED))
        word = ends[settled.type] if settled else "still open"
        back = "give back " if request.body.get("purpose") != "contain" else ""
        kind = "yes" if word == "granted" else "bad"
        drawing.add(f'<circle class="{kind}" cx="{stop:.1f}" cy="{y:.1f}" r="7"/>')
        _label(
            drawing, stop + 2, y, f"{back}{request.body['action']}: {word}" + (f" ({people})" if people else ""), "said"
        )
        drawing.y += _ROW * 0.8
    if not asked:
        _label(drawing, LEFT - 9, drawing.y + _ROW / 2, "nobody had to be asked")
        drawing.y += _ROW


def _containment(drawing: _Drawing, scale: _Scale, rows: tuple[ActionRow, ...], end: Instant) -> None:
    for row in rows:
        y = drawing.y + _ROW / 2
        if row.applied_at is None:
            _label(drawing, LEFT - 9, y, f"{row.title}: {row.status}, nothing was taken away", "said")
            drawing.y += _ROW
            continue
        stop = row.undone_at or end
        applied, known = scale(row.applied_at), scale(row.effective_at or stop)
        drawing.add(
            f'<rect class="striped" x="{applied:.1f}" y="{y - 9:.1f}" width="{max(3, known - applied):.1f}" height="18"/>'
        )
        if row.effective_at:
            drawing.add(
                f'<rect class="solid" x="{known:.1f}" y="{y - 9:.1f}" width="{max(3, scale(stop) - known):.1f}" height="18"/>'
            )
            drawing.add(f'<path class="known" d="M{known:.1f} {y - 13:.1f}v26"/>')
        drawing.add(f'<circle class="applied" cx="{applied:.1f}" cy="{y:.1f}" r="5.5"/>')
        if row.undone_at:
            x = scale(row.undone_at)
            drawing.add(f'<path class="back" d="M{x:.1f} {y - 9:.1f}v18m0 -9h9m-4 -4l4 4l-4 4"/>')
        words = brief(row.title, 44)
        lag = (
            f", effective {milliseconds_between(row.applied_at, row.effective_at) / 1000:.1f} s after"
            if row.effective_at
            else f", {row.status}"
        )
        text = plain(words + lag)
        at_right = applied - 6 + len(text) * 6.6 > WIDTH
        x, anchor = (float(WIDTH - 2), "end") if at_right else (max(float(LEFT), applied - 6), "start")
        drawing.add(f'<text class="note" x="{x:.1f}" y="{y - 14:.1f}" text-anchor="{anchor}">{escape(text)}</text>')
        drawing.y += _ROW * 1.25
    if not rows:
        _label(drawing, LEFT - 9, drawing.y + _ROW / 2, "nothing was taken away")
        drawing.y += _ROW


def _recovery(drawing: _Drawing, scale: _Scale, entries: list[LedgerEntry]) -> None:
    y = drawing.y + _ROW / 2
    judged = [e for e in entries if e.type is EntryType.RECOVERY_JUDGED]
    for entry in judged:
        x, verdict = scale(entry.at), dict(entry.body.get("verdict") or {})
        passed = bool(entry.body.get("passed"))
        drawing.add(f'<path class="{"yes" if passed else "bad"}" d="M{x:.1f} {y - 9:.1f}l9 9l-9 9l-9 -9z"/>')
        word = "the fix holds" if passed else "the fix does not hold"
        counted = f"{word}: {verdict.get('hits')} of {verdict.get('trials')} got through"
        _label(drawing, x + 3, y, counted if verdict.get("trials") else "no trial was made", "said")
    if not judged:
        _label(drawing, LEFT - 9, y, "no fix was tried yet")
    drawing.y += _ROW


def _cuts(scale: _Scale, bottom: float) -> list[str]:
    """Behind everything: where time was cut, and how long it was."""
    parts = []
    for x, gap in scale.cuts:
        parts.append(f'<rect class="cut" x="{x - 8:.1f}" y="36" width="16" height="{bottom - 36:.0f}"/>')
        parts.append(f'<path class="zag" d="M{x - 5:.1f} 36l4 -9m2 9l4 -9"/>')
        parts.append(f'<text class="axis" x="{x:.1f}" y="20" text-anchor="middle">{_length(gap)}</text>')
    return parts


def _axis(drawing: _Drawing, scale: _Scale, entries: list[LedgerEntry], bottom: float) -> None:
    """Opening, plan and closing, with the UTC time below."""
    marks = {EntryType.INCIDENT_OPENED: "opened", EntryType.PLAN_MADE: "planned", EntryType.INCIDENT_CLOSED: "closed"}
    taken = -100.0
    for entry in entries:
        word = marks.get(entry.type)
        if word is None:
            continue
        x = scale(entry.at)
        drawing.add(f'<line class="moment" x1="{x:.1f}" x2="{x:.1f}" y1="34" y2="{bottom:.0f}"/>')
        if x - taken < 185 and word != "closed":
            continue
        taken = x
        anchor = "end" if x > WIDTH - 90 else "middle" if x > LEFT + 40 else "start"
        since = milliseconds_between(scale.first, entry.at)
        drawing.add(
            f'<text class="axis strong" x="{x:.1f}" y="{bottom + 17:.0f}" text-anchor="{anchor}">{word} {entry.at[11:19]}</text>'
        )
        drawing.add(
            f'<text class="axis" x="{x:.1f}" y="{bottom + 33:.0f}" text-anchor="{anchor}">+{_length(since)}</text>'
        )


def _length(milliseconds: int) -> str:
    seconds = milliseconds / 1000
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
