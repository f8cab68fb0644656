"""A run's folder: who may write to it, and what it holds."""
