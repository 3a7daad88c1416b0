"""A bucket that locks what it takes: how it is reached, and how long it must keep. Read from config/defaults.toml."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from runbooks.domain.value import Value

SCHEME = "s3://"
LONG_DAYS = 1
"""Retention above this must be allowed by name: whatever is stored then cannot be deleted, and is paid for, until it ends."""


class BucketSettings(Value):
    """How one bucket is reached and how it locks."""

    region: str
    credentials: Annotated[str, StringConstraints(pattern=r"^((file|env):.+|sdk)$")]
    """A reference to JSON with access_key_id, secret_access_key and maybe session_token; the word `sdk` means AWS's own
    chain (an instance role, a profile), which is then a part of the environment that counts."""
    endpoint_url: str | None = None
    """Of an S3-compatible server; AWS itself when empty."""
    lock: Literal["compliance", "governance"] = "compliance"
    """Who may end a retention early: nobody, or whoever has the right to bypass."""
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 1
    """Every object is locked this long from when it was last stored, by the server's clock; while an incident is open,
    the keeper extends the locks of what it rests on."""
    allow_long_retention: bool = False
    request_checksum_calculation: Literal["when_required", "when_supported"] = "when_required"
    """Whether the SDK adds checksums of its own where S3 does not demand them; some S3-compatible servers refuse those."""

    @model_validator(mode="after")
    def _long_only_on_purpose(self) -> Self:
        if self.retention_days > LONG_DAYS and not self.allow_long_retention:
            raise ValueError(
                f"retention_days of at most {LONG_DAYS}, or allow_long_retention = true beside it "
                f"(what is locked for {self.retention_days} days cannot be deleted by anybody until then)"
            )
        return self


def is_bucket(location: str) -> bool:
    """Whether a location names a bucket and not a folder."""
    return location.startswith(SCHEME)
