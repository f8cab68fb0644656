"""Trees from above."""
