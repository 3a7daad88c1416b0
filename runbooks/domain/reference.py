"""Where a secret is, never the secret itself."""

from typing import Annotated

from pydantic import StringConstraints

SecretReference = Annotated[str, StringConstraints(pattern=r"^(file|env):.+$")]
"""`file:PATH` or `env:NAME`: where a secret is, never the secret. Read at use."""
