"""A training step compiled for chips that need not be here: memory, time."""
