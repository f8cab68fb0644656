"""The paper's tables beside the project's numbers: `python -m prm_flax.paper`."""
