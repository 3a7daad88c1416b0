"""Limits and time-outs of one installation: numbers that grant nothing."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runbooks.domain.bucket import BucketSettings, is_bucket


class Limits(BaseModel):
    """Limits and time-outs of one installation, from config/defaults.toml; the unit stands in each name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ledger_url: str = Field("", description="SQLAlchemy address of the ledger; empty: SQLite in $QUELL_HOME")
    vault_path: str = Field("", description="folder or s3://bucket/prefix; empty: $QUELL_HOME/vault")
    s3: BucketSettings | None = Field(None, description="how the vault's bucket is reached and how it locks")
    claim_lease_seconds: int = Field(30, ge=5, le=600)
    run_lease_seconds: int = Field(15, ge=3, le=600)
    keeper_interval_seconds: int = Field(2, ge=1, le=60)
    evidence_before_minutes: int = Field(60, ge=1)
    evidence_source_deadline_seconds: int = Field(300, ge=1, description="what comes later is named as a gap")
    probe_interval_milliseconds: int = Field(
        200, ge=10, description="the longest between two looks while the path is open"
    )
    probe_confirm_milliseconds: int = Field(20, ge=1, description="between looks once it was refused")
    probe_span_milliseconds: int = Field(
        100,
        ge=0,
        description="how long it must stay refused; more for systems whose replicas learn one after the other",
    )
    recovery_ready_seconds: int = Field(60, ge=1, le=3600, description="for an agent to work before the fix is tried")
    reissue_wait_minutes: int = Field(
        30, ge=1, le=1440, description="the same where its token was revoked: somebody must issue a new one"
    )
    drift_watch_seconds: int = Field(
        60, ge=5, le=3600, description="between two looks at what is taken away, while people are waited for"
    )
    anchor_directory: str = Field("", description="folder or s3://bucket/prefix for signed heads; empty: none")
    anchor_s3: BucketSettings | None = Field(None, description="the same for the bucket of anchor_directory")
    anchor_tsa_url: str = Field("", description="RFC 3161 time-stamp authority; empty: none")
    anchor_interval_seconds: int = Field(60, ge=5, le=3600)
    worker_limit: int = Field(32, ge=1)
    worker_standby: int = Field(2, ge=0)
    door_host: str = Field("127.0.0.1", description="where the door listens; TLS is a reverse proxy's work")
    door_port: int = Field(0, ge=0, le=65_535, description="0: a free one, the same again at the next start")
    door_connections: int = Field(1000, ge=10, le=50_000)
    door_body_kept_bytes: int = Field(1_048_576, ge=1024, description="of a longer body only so much is kept")
    door_body_most_bytes: int = Field(10_485_760, ge=1024, description="a longer one is refused")
    door_patience_seconds: int = Field(10, ge=1, le=60, description="for a request's header, and for its body")
    door_unproven_per_minute: int = Field(600, ge=1, description="from a source that proves nothing")
    door_disk_free_percent: int = Field(
        5, ge=0, le=100, description="with less the door sends senders away to come back"
    )

    @model_validator(mode="after")
    def _buckets_have_settings(self) -> Self:
        for key, location, table, group in (
            ("vault_path", self.vault_path, "s3", self.s3),
            ("anchor_directory", self.anchor_directory, "anchor_s3", self.anchor_s3),
        ):
            if is_bucket(location) and group is None:
                raise ValueError(f"a table [{table}] for the bucket of {key}")
        return self
