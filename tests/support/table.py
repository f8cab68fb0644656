"""Everything the contract holds for. A new module or model is a new row here."""

import flax.linen as nn
import jax.numpy as jnp
from support.networks import ShortMobileNet

from prm_flax import PRM, create_model, list_models
from prm_flax.backbones.slot import PRMFactory

# Recalibration modules for features of 16 channels.
MODULES: dict[str, nn.Module] = {
    "prm": PRM(8),
    "prm, official σ": PRM(8, ddof=1),
    "prm, l1": PRM(8, similarity="l1"),
    "prm, cosine": PRM(8, similarity="cosine"),
    "prm, without position": PRM(8, position=False),
    "prm, without normalisation": PRM(8, normalize=False),
}
MODELS: list[str] = list_models()
# Those that are also trained a step, on 32×32 images; the others only have their shapes
# found, and are run in golden/.
_BFLOAT16 = {"num_classes": 7, "dtype": jnp.bfloat16}
RUN: dict[str, nn.Module] = {
    "prm_resnet14": create_model("prm_resnet14", **_BFLOAT16),
    "first blocks of prm_mobilenet_v2": ShortMobileNet(
        recalibration=PRMFactory(8, dtype=jnp.bfloat16), slot="prm", **_BFLOAT16
    ),
}
