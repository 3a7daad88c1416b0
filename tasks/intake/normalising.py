"""From one delivery to its signals: a pure function of the bytes and of the source as it is configured.

The same delivery with the same mapping gives the same signals, so a whole spool can be read again after a mapping was
corrected. Nothing of the delivery's text appears in an error. An item that cannot be read keeps back no other one.
"""

from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import orjson

from runbooks.domain.errors import IntakeDefectError
from runbooks.domain.mapping import BodyFormat, Expression, SignalMapping
from runbooks.domain.signal import Delivery, Signal, SignalState
from runbooks.domain.sources import Source
from runbooks.domain.value import Digest, Json, canonical, digest_of
from tasks.intake import cleaning, cloudevents
from tasks.intake.mapping import holds, pick

MOST_SIGNALS: Final = 10_000
MOST_FORM_FIELDS: Final = 1000
Seen = dict[str, Json]
_PARTLY = " items could not be read, the others were. The first: "


class Normalised(NamedTuple):
    """What a delivery says: its signals in order, and, where items of it could not be read, how many and why."""

    signals: tuple[Signal, ...]
    defect: str = ""


def normalise(delivery: Delivery, body: bytes, source: Source) -> Normalised:
    """The signals of a delivery, in order; none where it says nothing (a heartbeat).

    Raises IntakeDefectError where nothing of it can be read: cut off, not in its format, in a shape that no mapping is
    for, or without a single sound item.
    """
    if delivery.truncated:
        raise IntakeDefectError(
            "the body was longer than what is kept, so it cannot be read.",
            next_step="let the sender send fewer or smaller alerts at a time.",
        )
    headers = dict(delivery.headers)
    signals: list[Signal] = []
    documents, bad = _documents(delivery, body, source, headers)
    count = len(bad)
    for document in documents:
        seen: Seen = {"body": document, "headers": headers, "nested": None}
        try:
            seen["nested"] = _nested(document, source)
            mapping = _mapping_for(seen, source)
            version, items = mapping_version(source, mapping), _items(seen, mapping)
        except IntakeDefectError as error:
            bad.append(error)
            count += 1
            continue
        count += len(items)
        for item in items:
            if len(signals) >= MOST_SIGNALS:
                raise IntakeDefectError(f"more than {MOST_SIGNALS} signals in one delivery.")
            here = {**seen, "item": item}
            try:
                if mapping.skip is None or not holds(pick(mapping.skip, here, f"{mapping.name}.skip")):
                    signals.append(_Reader(delivery, source, mapping, here).signal(len(signals), version))
            except IntakeDefectError as error:
                bad.append(error)
    if bad and not signals:
        raise bad[0]
    return Normalised(tuple(signals), _told(bad, count))


def _told(bad: list[IntakeDefectError], count: int) -> str:
    if not bad:
        return ""
    return f"{len(bad)} of {count}{_PARTLY}{bad[0].problem}"


def cause_of(defect: str) -> str:
    """Why it is one, without the counts: equal for all deliveries that have the same fault."""
    return defect.partition(_PARTLY)[2] or defect


def mapping_version(source: Source, mapping: SignalMapping) -> Digest:
    """Digest of all that decides how this mapping reads a delivery."""
    parts = {"body": source.body, "nested": source.nested, "scope": source.scope.as_json(), "is": mapping.as_json()}
    return digest_of(canonical(parts))


def _documents(
    delivery: Delivery, body: bytes, source: Source, headers: dict[str, str]
) -> tuple[list[Json], list[IntakeDefectError]]:
    """The documents, and what is wrong with those that are none."""
    try:
        if source.body is BodyFormat.CLOUDEVENTS:
            events, bad = cloudevents.events(delivery.content_type, headers, body)
            return list(events), bad
        if source.body is BodyFormat.FORM:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FORM_FIELDS)
            return [dict(reversed(pairs))], []
        return [orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))], []
    except IntakeDefectError:
        raise
    except ValueError:  # not JSON, not UTF-8, too many fields
        raise IntakeDefectError(f"expected a body in the format {source.body}, found bytes that are not.") from None


def _nested(document: Json, source: Source) -> Json:
    if source.nested is None:
        return None
    inside = pick(source.nested, {"body": document}, "nested")
    try:
        return orjson.loads(inside) if isinstance(inside, str) else inside
    except orjson.JSONDecodeError:
        return None


def _mapping_for(seen: Seen, source: Source) -> SignalMapping:
    for mapping in source.mappings:
        if mapping.when is None or holds(pick(mapping.when, seen, f"{mapping.name}.when")):
            return mapping
    listed = ", ".join(mapping.name for mapping in source.mappings) or "none"
    raise IntakeDefectError(f"no mapping of the source is for a delivery of this shape (mappings: {listed}).")


def _items(seen: Seen, mapping: SignalMapping) -> list[Json]:
    if mapping.each is None:
        return [seen["body"]]
    items = pick(mapping.each, seen, f"{mapping.name}.each")
    if not isinstance(items, list) or not items:
        raise IntakeDefectError(f"expected a list with at least one member at {mapping.name}.each, found none.")
    return items


class _Reader:
    """One item through one mapping."""

    def __init__(self, delivery: Delivery, source: Source, mapping: SignalMapping, seen: Seen) -> None:
        self._delivery = delivery
        self._source = source
        self._mapping = mapping
        self._seen = seen

    def signal(self, ordinal: int, version: Digest) -> Signal:
        """The signal; IntakeDefectError where the item has no kind. One without a plain letter is told by its digest."""
        mapping, scope, delivery = self._mapping, self._source.scope, self._delivery
        named = self._one(mapping.kind, "kind")
        kind = cleaning.word(named, 120) or cleaning.telling(named, mapping.name)
        if kind is None:
            raise IntakeDefectError(f"expected {mapping.name}.kind to be there, found nothing.")
        over = cleaning.word(self._one(mapping.state, "state")) in mapping.resolved
        return Signal(
            delivery=delivery.id, ordinal=ordinal, source=delivery.source, mapping=version,
            kind=kind, event_key=self._event_key(),
            system=self._system(),
            environment=cleaning.word(self._one(mapping.environment, "environment")) or scope.environment,
            archetype_label=cleaning.word(self._one(mapping.archetype, "archetype")),
            labels=cleaning.labels([*scope.labels, *self._all(mapping.labels, "labels")]),
            state=SignalState.RESOLVED if over else SignalState.FIRING,
            vendor_severity=cleaning.word(self._one(mapping.severity, "severity")),
            human=mapping.human, near_miss=holds(self._one(mapping.near_miss, "near_miss")),
            occurred_at=cleaning.instant(self._one(mapping.occurred_at, "occurred_at"), delivery.received_at),
            received_at=delivery.received_at, strength=delivery.strength,
            text=cleaning.text(self._all(mapping.text, "text")), alert=self._alert(),
            entity=cleaning.telling(self._one(scope.entity or mapping.entity, "entity")),
        )  # fmt: skip

    def _system(self) -> str | None:
        scope, mapping = self._source.scope, self._mapping
        named = cleaning.word(self._one(mapping.system, "system"))
        place = cleaning.word(self._one(mapping.place, "place"))
        if named is not None:
            return scope.systems.get(named, cleaning.name(named))
        return scope.systems.get(place, scope.system) if place is not None else scope.system

    def _one(self, expression: Expression | None, key: str) -> Json:
        return None if expression is None else pick(expression, self._seen, f"{self._mapping.name}.{key}")

    def _all(self, expressions: tuple[Expression, ...], key: str) -> list[Json]:
        return [self._one(expression, key) for expression in expressions]

    def _event_key(self) -> Digest:
        pieces = self._all(self._mapping.event_key, "event_key")
        if any(piece is not None for piece in pieces):
            return _fingerprint([self._mapping.name, *pieces])
        return _fingerprint([self._mapping.name, "whole", self._seen["item"]])

    def _alert(self) -> str | None:
        pieces = self._all(self._mapping.alert, "alert")
        found = any(piece is not None for piece in pieces)
        return _fingerprint([self._mapping.name, *pieces]) if found else None


def _fingerprint(pieces: list[Json]) -> Digest:
    try:
        return cleaning.fingerprint(pieces)
    except TypeError:
        raise IntakeDefectError("what tells events apart is nested too deeply to be read.") from None
