"""The training program: `python -m train fit CONFIG`."""
