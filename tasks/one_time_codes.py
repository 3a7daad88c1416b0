"""One-time codes of authenticator apps (RFC 6238): how one is checked, and how often somebody may try.

For people who answer inside a form. Weaker than a signature: only quell saw the code, so reports say "attested by quell".
"""

import base64
import binascii
import hmac
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pyotp

from runbooks.domain.approval import Proof
from runbooks.domain.configuration import ProofKind
from runbooks.domain.errors import ApprovalError
from runbooks.domain.instants import Instant, later, milliseconds_between, moment

STEP_SECONDS = 30
"""RFC 6238 §5.2; with SHA-1 and six digits it is what every authenticator app does without being asked."""
DIGITS = 6
LEAST_SECRET_BYTES = 16
"""RFC 4226 §4, requirement R6: at least 128 bits."""
_NOT_RECORDED = "the decision was not recorded; the request stands as before."


def time_step(arrived_at: Instant) -> int:
    """The RFC 6238 time step of an instant: whole periods of 30 s since 1970."""
    return int(moment(arrived_at).timestamp()) // STEP_SECONDS


def _usable(secret: str) -> str:
    """The secret in the form that pyotp reads: base32 without spaces and padding."""
    text = "".join(secret.split()).upper().rstrip("=")
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) < LEAST_SECRET_BYTES:
        raise ApprovalError(
            f"expected a base32 code secret of {LEAST_SECRET_BYTES} bytes or more, found something else (not shown).",
            now=_NOT_RECORDED,
            next_step="answer with an SSH signature; write a new secret where code_secret in people.toml points, and enrol it again.",
        )
    return text


def verify_code(code: str, secret: str, arrived_at: Instant, *, used_steps: Collection[int]) -> Proof:
    """The proof that this code was the person's when it arrived; ApprovalError if not.

    Only the step of the arrival and the one before count (RFC 6238 §5.2 advises at most one step of delay); a code of
    the future is refused, and so is a step in `used_steps`: those this person used before. Compared in constant time.
    """
    typed = "".join(code.split())
    if len(typed) != DIGITS or not (typed.isascii() and typed.isdigit()):
        raise ApprovalError(
            f"expected a one-time code of {DIGITS} digits, found something else (not shown).",
            now=_NOT_RECORDED,
            next_step="type the code that the authenticator app shows now.",
        )
    generator = pyotp.TOTP(_usable(secret), digits=DIGITS, interval=STEP_SECONDS)
    now = time_step(arrived_at)
    matching = [s for s in (now, now - 1) if s >= 0 and hmac.compare_digest(generator.generate_otp(s), typed)]
    fresh = [step for step in matching if step not in used_steps]
    if fresh:
        return Proof(kind=ProofKind.CODE, time_step=fresh[0])
    if matching:
        raise ApprovalError(
            f"this one-time code (time step {matching[0]}) was used before; each counts once.",
            now=_NOT_RECORDED,
            next_step=f"wait up to {STEP_SECONDS} seconds for the next code and answer again.",
        )
    raise ApprovalError(
        f"the one-time code is not the one for {arrived_at[11:19]} UTC, nor the one before it.",
        now=_NOT_RECORDED,
        next_step="type the code that the app shows now; if it keeps failing, set the phone's clock, or sign with an SSH key.",
    )


def is_pair(code: str) -> bool:
    """Whether somebody typed two codes in a row, with or without a space between."""
    return len("".join(code.split())) == 2 * DIGITS


def verify_pair(code: str, secret: str, arrived_at: Instant, *, used_steps: Collection[int]) -> Proof:
    """The proof that both codes, of two steps in a row, were the person's; its `time_step` is the second one's.

    Twelve digits cannot be guessed, so this needs no limit of attempts: it is how a person without an SSH key gets
    through while somebody guesses at their codes (RFC 4226 §7.4 has the same for a counter that was lost). Neither
    step may have been used, and the second is that of the arrival or the one before.
    """
    typed = "".join(code.split())
    generator = pyotp.TOTP(_usable(secret), digits=DIGITS, interval=STEP_SECONDS)
    now = time_step(arrived_at)
    for step in (now, now - 1):
        both = generator.generate_otp(step - 1) + generator.generate_otp(step)
        if hmac.compare_digest(both.encode(), typed.encode()) and not {step, step - 1} & set(used_steps):
            return Proof(kind=ProofKind.CODE, time_step=step)
    raise ApprovalError(
        "expected two codes in a row, the newest at most a minute old and neither used before; found something else "
        "(not shown).",
        now=_NOT_RECORDED,
        next_step=f"type the code that shows now, wait for the next one (at most {STEP_SECONDS} s), type that too, and send.",
    )


@dataclass(frozen=True)
class AttemptRule:
    """After `wrong` wrong codes of one person within `window_seconds`, codes are refused for `pause_seconds`.

    With these numbers a guesser has at most 480 tries a day at two valid codes in a million: one in about a thousand
    a day, and every pause is on record. RFC 4226 §7.3 demands a throttle and leaves the numbers open.
    """

    wrong: int = 5
    window_seconds: int = 900
    pause_seconds: int = 900


@dataclass(frozen=True)
class Attempts:
    """Whether a single code may be tried now; if not, when again. Two codes in a row and SSH signatures always may."""

    allowed: bool
    again_at: Instant | None = None


def attempts_allowed(wrong_at: Iterable[Instant], now: Instant, rule: AttemptRule = AttemptRule()) -> Attempts:
    """Whether this person may try a code now, from the instants of this person's wrong codes so far.

    Attempts during a pause count for nothing, so nobody can prolong it by trying on; and since neither a signature nor
    two codes in a row need an attempt, a stranger who guesses codes never shuts the person out of deciding.
    """
    recent: list[Instant] = []
    paused_until: Instant | None = None
    for at in sorted(wrong_at):
        if at > now:
            break
        if paused_until is not None and at < paused_until:
            continue
        recent = [*(seen for seen in recent if milliseconds_between(seen, at) <= rule.window_seconds * 1000), at]
        if len(recent) >= rule.wrong:
            paused_until, recent = later(at, rule.pause_seconds), []
    if paused_until is not None and now < paused_until:
        return Attempts(allowed=False, again_at=paused_until)
    return Attempts(allowed=True)
