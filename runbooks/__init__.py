"""WHAT: the book. Runbooks as YAML, the nouns and rules they use as pure Python."""
