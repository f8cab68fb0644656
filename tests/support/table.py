"""Everything the contract holds for. A new module or model is a new row here."""

import flax.linen as nn
import jax.numpy as jnp
from support.networks import ShortMobileNet, tiny

from prm_flax import PRM, create_model, list_models
from prm_flax.attention import CBAM, GC, GE, SE, SGE, SK
from prm_flax.backbones.slot import PRMFactory, SameModule

# Recalibration modules for features of 16 channels.
MODULES: dict[str, nn.Module] = {
    "prm": PRM(8),
    "prm, official σ": PRM(8, ddof=1),
    "prm, l1": PRM(8, similarity="l1"),
    "prm, cosine": PRM(8, similarity="cosine"),
    "prm, without position": PRM(8, position=False),
    "prm, without normalisation": PRM(8, normalize=False),
    "se": SE(4),
    "ge": GE(),
    "ge, extent 2": GE(2),
    "cbam": CBAM(4),
    "sk": SK(16, groups=8, reduction=4),
    "gc": GC(4),
    "sge": SGE(8),
}
# Module -> leaves that cannot matter: the softmax does not see GC's bias.
UNUSED = {
    "prm, without position": {"theta", "d"},
    "gc": {"conv_mask/bias"},
}
# The compared modules in a deeper network of the same blocks would tell nothing new.
_DEEPER = ("resnet20", "resnet34", "resnet101", "resnet152")
MODELS: list[str] = [
    name
    for name in list_models()
    if not name.endswith(_DEEPER) or name.startswith(("resnet", "prm_"))
]
# Those that are also trained a step, on 32×32 images; the others only have their shapes
# found, and are run in golden/.
_BFLOAT16 = {"num_classes": 7, "dtype": jnp.bfloat16}
RUN: dict[str, nn.Module] = {
    "prm_resnet14": create_model("prm_resnet14", **_BFLOAT16),
    "first blocks of prm_mobilenet_v2": ShortMobileNet(
        recalibration=PRMFactory(8, dtype=jnp.bfloat16), slot="prm", **_BFLOAT16
    ),
    "two blocks with cbam": tiny(
        recalibration=SameModule(CBAM(dtype=jnp.bfloat16)), slot="cbam", **_BFLOAT16
    ),
    "two blocks with sk": tiny(selective=True, **_BFLOAT16),
}
