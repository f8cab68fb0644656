"""PRM for Flax NNX: `from prm_flax.nnx import PRM`."""

from prm_flax.prm.nnx import PRM as PRM
