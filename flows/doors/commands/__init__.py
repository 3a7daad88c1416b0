"""The commands of `quell`, one small file per family: `add(parser, name)` declares arguments, `run(args)` works."""
