"""The HTTP door: signals and decisions come in, health and metrics go out. One process, one writing thread."""
