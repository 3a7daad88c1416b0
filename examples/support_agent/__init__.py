"""A small, real customer-support AI service: an agent, its tools, its prompt registry, its tokens, its traces.

Start one with ``python -m examples.support_agent up --dir DIR`` or, from Python, ``world.start(dir)``.
Everything runs on loopback, on free ports, as processes of one supervisor.
"""
