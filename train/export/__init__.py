"""A run's weights and its program, for use elsewhere."""
