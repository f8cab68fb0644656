"""PRM, the Position-Aware Recalibration Module (Ma & Fu, IJCAI 2020), in JAX."""

from prm_flax.backbones.registry import create_model as create_model
from prm_flax.backbones.registry import list_models as list_models
from prm_flax.counting import complexity as complexity
from prm_flax.prm.functional import PRMMaps as PRMMaps
from prm_flax.prm.functional import PRMParams as PRMParams
from prm_flax.prm.functional import recalibrate as recalibrate
from prm_flax.prm.linen import PRM as PRM

__version__ = "0.1.0"
