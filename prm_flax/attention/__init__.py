"""The modules PRM was compared with (paper, Table 1), each usable alone."""

from prm_flax.attention.cbam import CBAM as CBAM
from prm_flax.attention.gc import GC as GC
from prm_flax.attention.ge import GE as GE
from prm_flax.attention.se import SE as SE
from prm_flax.attention.sge import SGE as SGE
from prm_flax.attention.sk import SK as SK
