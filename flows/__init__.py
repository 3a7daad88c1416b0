"""The order of things: one flow per archetype, and the doors through which the world comes in."""
