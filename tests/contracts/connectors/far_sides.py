"""One far side per kind and verb, the real thing wherever there is one: files, the practice token server, moto's AWS."""

from collections.abc import Callable
from pathlib import Path

from runbooks.domain.containment import Verb
from tests.contracts.connectors.far_aws import deactivate_key, deny_sessions, roll_back_prompt
from tests.contracts.connectors.far_files import flagd_file, memory
from tests.contracts.connectors.far_oauth import block_client, http_action, revoke_token
from tests.contracts.connectors.far_side import FarSide

FAR_SIDES: dict[tuple[str, Verb], Callable[[Path], FarSide]] = {
    ("flagd_file", Verb.DISABLE_TOOL): flagd_file,
    ("oauth", Verb.BLOCK_CLIENT): block_client,
    ("oauth", Verb.REVOKE_TOKEN): revoke_token,
    ("aws_ssm", Verb.ROLL_BACK_PROMPT): roll_back_prompt,
    ("aws_iam", Verb.DEACTIVATE_KEY): deactivate_key,
    ("aws_iam", Verb.DENY_SESSIONS): deny_sessions,
    ("http_action", Verb.CALL_HTTP): http_action,
    ("memory", Verb.DISABLE_TOOL): memory,
}
"""`memory` has every verb; one stands for all, since it treats them alike."""
