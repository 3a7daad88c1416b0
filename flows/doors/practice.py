"""The practice installation: a home of its own with practice people, a practice system, and keys made on this machine.

Everything in it is real (servers, tokens, flags, signatures) except the stakes. Its configuration is generated from
what the practice system says of itself, as an operator would write it.
"""

import base64
import secrets
import subprocess
from pathlib import Path
from string import Template

import pyotp

from examples.support_agent import world as practice_world
from examples.support_agent.layout import Layout
from flows.doors.listing import ROOT

TEMPLATES = ROOT / "examples" / "support_agent" / "config"
SOURCES = ", ".join(
    f'{name} = {{path = "/book", query = {{since = "0"}}, rows = "rows", time = "at"}}' for name in ("calls", "effects")
)
MONITOR = "practice-monitor"
PEOPLE = ("ana", "ben", "cleo", "dora")


def prepare(home: Path, seed: int, prompt_cache_seconds: float = 3.0) -> practice_world.World:
    """Start the practice system in this home and write the configuration that fits it."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for person in PEOPLE:
        _make_person(home, person)
    make_monitor_secret(home)
    world = practice_world.start(home / "world", seed=seed, prompt_version=2, prompt_cache_seconds=prompt_cache_seconds)
    write_configuration(home, world)
    return world


def key_file(home: Path, person: str) -> Path:
    """The private SSH key of a practice person."""
    return home / "people" / f"{person}.key"


def _make_person(home: Path, person: str) -> None:
    key = key_file(home, person)
    key.parent.mkdir(exist_ok=True, mode=0o700)
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{person}@practice.example", "-f", str(key)],
            check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    code = key.with_name(f"{person}.code")
    if not code.exists():
        code.write_text(pyotp.random_base32())
        code.chmod(0o600)


def make_monitor_secret(home: Path) -> None:
    """What the practice agent's monitor signs with."""
    file = home / "secrets" / MONITOR
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not file.exists():
        file.write_text("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
        file.chmod(0o600)


def monitor_secret(home: Path) -> str:
    """The secret of the practice agent's monitor; only the monitor reads it, and the door."""
    return (home / "secrets" / MONITOR).read_text()


def write_configuration(home: Path, world: practice_world.World) -> None:
    """The practice configuration files, filled in with where this world is."""
    told = world.describe
    paths = Layout(told.directory)
    secret = told.secret_paths
    values = {f"{person}_key": key_file(home, person).with_suffix(".key.pub").read_text().strip() for person in PEOPLE}
    values |= {
        "flags_path": str(told.flags_path), "region": told.region, "aws": told.addresses.aws,
        "agent": told.addresses.agent, "responder_aws_key": str(secret["quell-responder.aws_key"]),
        "oauth_settings": (
            f'issuer = "{told.addresses.authorization}", client_id = "{told.oauth_clients["responder"]}", '
            f'client_secret = "file:{secret["quell-responder.client_secret"]}", '
            f'tokens = {{support-agent = "file:{paths.agent_token}"}}'
        ),
        "otlp_settings": f'directory = "{told.traces_path.parent}"',
        "book_settings": f'base_url = "{told.addresses.tools}", sources = {{{SOURCES}}}',
        "prompt_parameter": told.prompt_parameter, "prompt_label": told.prompt_label, "prompt_version": "2",
    }  # fmt: skip
    config = home / "config"
    config.mkdir(exist_ok=True)
    for template in sorted(TEMPLATES.glob("*.toml")):
        filled = Template(template.read_text(encoding="utf-8")).substitute(values)
        (config / template.name).write_text(filled, encoding="utf-8")


def fresh_home(parent: Path, what_for: str = "drill") -> Path:
    """A new practice home below this folder."""
    return parent / f"{what_for}-{secrets.token_hex(3)}"
