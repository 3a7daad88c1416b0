"""Pure nouns and rules. Imports pydantic and the standard library; clock, identifiers and randomness are arguments."""
