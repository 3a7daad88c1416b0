"""What became of an effect, asked of the record: may another grant take it over, and does anybody know?"""

from runbooks.domain import effects
from runbooks.domain.errors import ContainmentError, Outcome, QuellError
from runbooks.domain.ledger import LedgerEntry
from tasks.installation import Installation
from tasks.ledger import is_gone
from tasks.stores.base import ClaimRow


def came_to_nothing(installation: Installation, incident_id: str, claim: ClaimRow) -> bool:
    """Whether what was claimed is certainly not done, so that another grant may claim it; the store decides again."""
    told = _outcomes(installation, incident_id)
    return effects.is_not_done(told, claim.effect_key, claim.fence, dead=is_gone(claim.holder))


def nobody_knows(installation: Installation, incident_id: str, effect_key: str, error: QuellError) -> bool:
    """Whether, after this error, it is unknown what became of the effect.

    What was sent before and has no certain outcome stays unknown when the right to it, or the way to it, is missing
    now, and when a later attempt is refused there: the earlier one may still be on its way.
    """
    if isinstance(error, ContainmentError) and error.outcome is Outcome.UNKNOWN:
        return True
    return effects.may_have_arrived(_outcomes(installation, incident_id), effect_key)


def _outcomes(installation: Installation, incident_id: str) -> list[LedgerEntry]:
    return installation.store.entries(incident_id, types=effects.OUTCOMES)
