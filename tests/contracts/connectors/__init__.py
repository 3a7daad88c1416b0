"""What the connector contract needs: an honest record in memory, far sides that are real, a wire that can fail."""
