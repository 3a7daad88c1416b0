"""From a delivery to an incident. See README.md beside this file."""
