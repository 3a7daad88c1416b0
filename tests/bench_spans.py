"""What the evidence bench seals: spans as an agent writes them, the same every time."""

import json
import random
from functools import cache

SPANS, SPAN_BYTES = 10_000, 10_000


@cache
def spans() -> list[bytes]:
    """The same on every machine; about as compressible as real prompts and answers."""
    chance = random.Random(7)  # noqa: S311 - the same every time is the point
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgkjqxz", k=chance.randint(2, 9))) for _ in range(4000)]
    passages = [" ".join(chance.choices(words, k=60)) for _ in range(6000)]
    found = []
    for number in range(SPANS):
        text = " ".join(chance.choices(passages, k=1 + SPAN_BYTES // 380))
        span = {
            "traceId": f"{chance.getrandbits(128):032x}", "spanId": f"{number:016x}", "name": "chat practice-model",
            "startTimeUnixNano": str(1_790_000_000_000_000_000 + number * 1_000_000), "kind": 3, "attributes": [
                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": str(chance.randint(10, 4000))}},
                {"key": "gen_ai.input.messages", "value": {"stringValue": text}},
            ],
        }  # fmt: skip
        whole = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
        found.append(whole.replace(text.encode(), text.encode()[: len(text) - len(whole) + SPAN_BYTES]))
    return found
