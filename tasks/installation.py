"""One installation: ledger, vault, pen, the active configuration. The one place where real things are chosen."""

import secrets
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import ApprovalError, ConfigurationError, EvidenceError
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import Actor, EntryType, LedgerEntry
from runbooks.domain.runbook import Runbook
from runbooks.domain.value import Digest, Json, Value
from runbooks.loader import load_book
from tasks.connectors import open_connector
from tasks.connectors.base import Connector
from tasks.inventory import demand_sound
from tasks.ledger import INSTALLATION, Pen, clock
from tasks.settings import Settings, load_configuration, load_settings, resolve_secret
from tasks.signatures import Signatures, write_over
from tasks.stores import open_ledger, open_vault
from tasks.stores.base import LedgerStore, Vault


class Installation:
    """What every task works with. Opening creates the home, the ledger and, when fresh, the first activation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._weighed: tuple[tuple[Digest, ...], Signatures] | None = None
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.store: LedgerStore = open_ledger(settings.ledger_url)
        self.vault: Vault = open_vault(
            settings.vault_path,
            settings.home / "keys",
            settings.limits.s3,
            lambda ref: resolve_secret(ref, settings.home),
        )

    def pen(self, who: Actor, flow_run_id: str | None = None) -> Pen:
        """A pen that writes as this actor."""
        return Pen(self.store, who, flow_run_id)

    @property
    def id(self) -> str:
        """The installation's own name, made once; approvals are bound to it."""
        entry = self.store.find("installation")
        if entry is None:
            entry = self.pen(INSTALLATION).write(
                EntryType.INSTALLATION_CREATED, "installation", body={"installation": "quell-" + secrets.token_hex(6)}
            )
        return str(entry.body["installation"])

    def keep(self, value: Value) -> Digest:
        """Store a value in the vault under its own digest."""
        return self.vault.put(value.canonical())

    def proposed(self) -> Configuration:
        """What the files say, checked whole. It grants nothing until it is activated."""
        configuration = load_configuration(self.settings)
        demand_sound(configuration)
        return configuration

    def activate(self, configuration: Configuration, actor: Actor, body: dict[str, Json]) -> LedgerEntry:
        """Make a configuration the active one, with its runbooks kept beside it. The caller has checked the right to.

        `body`: how it came to be; what an owner signed, with the proof, or in words why nobody did.
        """
        digest = self.keep(configuration)
        for book in load_book(self.settings.book).values():
            self.keep(book)
        before = self._activation()
        if before is not None and before.subject["configuration"] == digest:
            return before
        told = {**body, "signed_by_person": actor.kind == "person", "previous": before.leaf if before else None}
        written = write_over(
            self.pen(actor), lambda entry: self.signatures().fault(entry), EntryType.CONFIGURATION_ACTIVATED,
            f"configuration/{0 if before is None else before.index}/{digest}", subject={"configuration": digest}, body=told,
        )  # fmt: skip
        if why := self.signatures().fault(written):
            raise ApprovalError(
                f"this does not make another configuration active: {why}.",
                now="the earlier configuration stays active; the attempt is on record and counts for nothing.",
                next_step="look at `quell policy diff`; an owner of the active policy signs: `quell policy activate --as OWNER`",
            )  # fmt: skip
        return written

    def signatures(self) -> Signatures:
        """Who signed what in this log, by every activation in it. Weighed anew when another one was written."""
        found = self.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))
        leaves = tuple(entry.leaf for entry in found)
        weighed = self._weighed
        if weighed is None or weighed[0] != leaves:
            weighed = self._weighed = (leaves, Signatures(found, self.read))
        return weighed[1]

    def read(self, name: str, digest: Digest) -> bytes | None:
        """An object that entries refer to by this name; None when it is gone. A configuration that is gone is an error.

        Without it nobody can tell who had a say after it.
        """
        return self.vault.get(digest) if name == "configuration" or self.vault.has(digest) else None

    def _activation(self) -> LedgerEntry | None:
        found = self.signatures().activations
        return found[-1] if found else None

    def activate_if_fresh(self) -> None:
        """The first configuration of a fresh installation is activated by the installation itself, and says so."""
        if self._activation() is None:
            _ = self.id
            self.activate(self.proposed(), INSTALLATION, {"proof": "fresh installation; not signed by a person"})

    def active_digest(self) -> Digest:
        """Digest of the active configuration."""
        entry = self._activation()
        if entry is None:
            raise ConfigurationError("config", "activation", expected="an active configuration", found="none yet")
        return entry.subject["configuration"]

    def active(self) -> Configuration:
        """The active configuration, read from the vault and verified; the files play no part."""
        return self.configuration(self.active_digest())

    def configuration(self, digest: Digest) -> Configuration:
        """A configuration by digest, whether still active or not."""
        return _configuration(self.vault.get, digest)

    def now(self) -> Instant:
        """The clock, but never before the newest entry: a clock that was set back revives nothing."""
        newest = self.store.entries(since=max(0, self.store.size() - 1))
        return max([clock(), *(entry.at for entry in newest)])

    def latest(self) -> Instant:
        """The latest time that the clock or any entry knows: for what must never come back, people whose time is over.

        `now` forgets a time as soon as something is written by a clock that was set back; requests need that, or one
        leap ahead would end every request that is asked after it.
        """
        return max(clock(), self.store.latest() or "")

    def runbook(self, archetype: str, configuration: Configuration) -> Runbook:
        """The runbook version that this configuration pins."""
        digest = {str(key): value for key, value in configuration.runbooks.items()}.get(archetype)
        if digest is None:
            raise ConfigurationError(
                "runbooks", archetype, expected="a runbook in the active configuration", found="none"
            )
        return Runbook.from_bytes(self.vault.get(digest))

    def incident(self, incident_id: str) -> Incident:
        """The incident as opened, with later changes of severity, lead and causes folded in."""
        entries = self.store.entries(
            incident_id,
            types=(
                EntryType.INCIDENT_OPENED,
                EntryType.SEVERITY_CHANGED,
                EntryType.LEAD_CHANGED,
                EntryType.CAUSE_ESTABLISHED,
                EntryType.INCIDENT_RECLASSIFIED,
            ),
        )
        if not entries:
            raise EvidenceError(
                f"no incident {incident_id} is in the ledger.",
                now="nothing was done.", next_step="`quell incidents` lists the incidents of this installation.",
            )  # fmt: skip
        # The newest version stands whole in the vault; the entries before it keep the older ones.
        return Incident.from_bytes(self.vault.get(entries[-1].subject["incident"]))

    def connector(self, system: str, name: str, configuration: Configuration) -> Connector:
        """The connector of one system under one configuration; secrets are read when it uses them."""
        known = configuration.systems.get(system)
        if known is None or name not in known.connections:
            raise ConfigurationError(
                "systems.toml", f"{system}.connections.{name}", expected="the connection, as it was when it was planned",
                found="none in the active configuration",
            )  # fmt: skip
        connection = known.connections[name]
        home = self.settings.home
        return open_connector(
            connection.kind, name, system, connection.settings, lambda ref: resolve_secret(ref, home), clock
        )


@lru_cache(maxsize=64)
def _configuration(get: Callable[[Digest], bytes], digest: Digest) -> Configuration:
    return Configuration.from_bytes(get(digest))


@lru_cache(maxsize=8)
def open_installation(home: Path | None = None) -> Installation:
    """The installation of this home, opened once per process."""
    return Installation(load_settings(home))
