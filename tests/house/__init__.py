"""The laws of the house, each a function over a tree of files, so that each can be seen to fail on a planted breach."""
