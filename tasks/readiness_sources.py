"""Ready for tonight, the part about signals: who may send, with which proof, and whether their silence would be noticed."""

from collections.abc import Iterator
from contextlib import closing

from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import QuellError
from runbooks.domain.instants import instant_from_ns, later, milliseconds_between
from runbooks.domain.sources import SecretForm, Source
from tasks.installation import Installation
from tasks.intake.committing import spool_of
from tasks.intake.defects import LOOKED_BACK_DAYS, unread_since
from tasks.intake.silence import quiet_for
from tasks.intake.verifying import UnusableSecretError, signing_key
from tasks.ledger import clock
from tasks.readiness import Finding, attention, ok, wrong
from tasks.settings import resolve_secret

LATE_SECONDS = 60


def check_sources(configuration: Configuration, installation: Installation) -> Iterator[Finding]:
    """Each source has a usable secret now and a mapping, and one that went quiet would be noticed."""
    if not configuration.sources:
        yield attention("signals", "no source is configured: the door takes nothing in", "list one in sources.toml")
    with closing(spool_of(installation)) as spool:
        last = {name: spool.last_from(name) for name in configuration.sources}
        count, oldest = spool.waiting()
    if oldest is not None and (waits := milliseconds_between(instant_from_ns(oldest), clock()) // 1000) > LATE_SECONDS:
        yield attention(
            "spool",
            f"{count} deliveries wait to be read, the oldest for {waits} s",
            "start `quell up`, or see its logs",
        )
    for unread in unread_since(installation, later(clock(), -86_400 * LOOKED_BACK_DAYS)):
        yield attention(
            f"what {unread.source} sends",
            f"{unread.deliveries} of its deliveries could not be read, or not wholly, since {LOOKED_BACK_DAYS} days: {unread.cause}",
            "correct its mapping (`quell signal read` tries it), activate it, then `quell signal replay`",
        )  # fmt: skip
    for name, source in configuration.sources.items():
        about, heard = f"source {name}", last[name]
        bad = list(_unusable(source, installation))
        if bad:
            yield wrong(about, "; ".join(bad), f"put the right secret where sources.{name}.secrets says")
        elif source.secrets and not any(secret.holds(clock()) for secret in source.secrets):
            yield wrong(about, "none of its secrets is valid today", f"add one to sources.{name}.secrets")
        elif not source.mappings:
            yield attention(
                about, "nothing says how it is read: whatever comes is kept and shown as a defect",
                f"name a sender, or write [[sources.{name}.mappings]] (config/SENDERS.md)",
            )  # fmt: skip
        elif source.quiet_after_minutes is None:
            yield attention(
                about, "if it went quiet nobody would know",
                f"let it send something regularly, and set sources.{name}.quiet_after_minutes",
            )  # fmt: skip
        elif (
            heard is not None
            and quiet_for(instant_from_ns(heard), instant_from_ns(0), clock()) >= source.quiet_after_minutes
        ):
            yield attention(
                about,
                f"quiet: nothing came since {instant_from_ns(heard)[:16]} UTC",
                "see whether its sender still sends",
            )
        else:
            yield ok(about, f"may send; an alarm after {source.quiet_after_minutes} min of silence")


def _unusable(source: Source, installation: Installation) -> Iterator[str]:
    form = source.signing.secret_form if source.signing else SecretForm.RAW
    for secret in source.secrets:
        if secret.holds(clock()):
            try:
                signing_key(secret.id, resolve_secret(secret.secret, installation.settings.home), form)
            except UnusableSecretError as error:
                yield f"the secret {secret.id}: {error}"
            except QuellError:
                continue  # said under secrets, with its reference
