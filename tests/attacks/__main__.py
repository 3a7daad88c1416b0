"""`python -m tests.attacks [WORDS]`: run the list (those whose name holds the words) and print the table."""

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    words = ["-k", " or ".join(sys.argv[1:])] if sys.argv[1:] else []
    raise SystemExit(
        pytest.main(["-q", "-p", "no:cacheprovider", str(Path(__file__).with_name("test_attacks.py")), *words])
    )
