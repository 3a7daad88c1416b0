"""Break-glass is loud: every channel of the policy hears of it, after the act, and again until it has heard.

Who broke the glass tells people as soon as the act is done; the keeper tells whichever channel was not reached, or all
of them when that process died first. The same words under the same key: each channel hears it once.
"""

from runbooks.domain.instants import later
from runbooks.domain.ledger import LedgerEntry
from tasks.glasses import endings_of, glass_in, glasses_of
from tasks.installation import Installation
from tasks.ledger import Pen
from tasks.telling import tell_people

GIVEN_BACK = ("undone", "nothing", "approved")
"""What may become of a breaking when its time is over without a person having to look."""
_LOUD_SECONDS = 2 * 3600
"""How long after its end a channel that was never reached is still tried; `tell_people` gives up before."""


def tell_opened(installation: Installation, writer: Pen, glass: LedgerEntry) -> list[str]:
    """Tell every channel that somebody acts alone; returns those that were told, now or before."""
    said = glass_in(installation, glass).statement
    return tell_people(
        installation, writer, f"glass/{glass.subject['glass']}", incident=said.incident, channels=None,
        title=f"quell: BREAK-GLASS in {said.incident}",
        text=f"{said.person} acts alone: {said.step}, for {said.minutes} min. Then it is given back. "
        f"Look: quell show {said.incident}",
    )  # fmt: skip


def tell_left(installation: Installation, writer: Pen, ended: LedgerEntry) -> list[str]:
    """Tell every channel that something taken away alone could not be given back; nothing to tell where it could."""
    if ended.body["outcome"] in GIVEN_BACK:
        return []
    return tell_people(
        installation, writer, f"glass-ended/{ended.subject['glass']}", incident=ended.incident, channels=None,
        title=f"quell: break-glass in {ended.incident} could not be given back",
        text=f"{ended.body['action']}: {ended.body['outcome']}. A person must look: quell show {ended.incident}",
    )  # fmt: skip


def keep_telling(installation: Installation, writer: Pen) -> None:
    """The keeper's duty: what was done alone a short time ago is told to whoever has not heard of it."""
    endings = endings_of(installation)
    for glass in glasses_of(installation):
        tries = endings.get(glass.subject["glass"], [])
        since = max([str(glass.body["ends_at"]), *(ended.at for ended in tries[:1])])  # later tries are told of no more
        if later(since, _LOUD_SECONDS) < installation.now():
            continue
        tell_opened(installation, writer, glass)
        if tries:
            tell_left(installation, writer, tries[-1])
