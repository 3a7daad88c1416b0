"""Ready for tonight, the part about signals: who may send, with which proof, and whether their silence would be noticed."""

from collections.abc import Iterator

from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import QuellError
from runbooks.domain.sources import SecretForm, Source
from tasks.installation import Installation
from tasks.intake.verifying import UnusableSecretError, signing_key
from tasks.ledger import clock
from tasks.readiness import Finding, attention, ok, wrong
from tasks.settings import resolve_secret


def check_sources(configuration: Configuration, installation: Installation) -> Iterator[Finding]:
    """Each source has a usable secret now and a mapping, and one that went quiet would be noticed."""
    if not configuration.sources:
        yield attention("signals", "no source is configured: the door takes nothing in", "list one in sources.toml")
    for name, source in configuration.sources.items():
        about = f"source {name}"
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
