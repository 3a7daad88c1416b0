"""Every attack of the list, performed for real against a running system; `python -m tests.attacks` prints the table."""
