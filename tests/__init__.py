"""The tests of quell: house, domain, contracts, steps, flows. See README.md beside this file."""
