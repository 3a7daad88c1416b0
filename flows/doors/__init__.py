"""Where the world comes in: commands, webhook, worker, keeper, replay, drill."""
