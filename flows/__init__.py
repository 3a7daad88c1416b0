"""ORDER: one file per archetype, the story of its response."""
