"""PyTorch's weight files read without PyTorch, and without trusting them."""

from prm_flax.interop.pth.read import Contents as Contents
from prm_flax.interop.pth.read import read_contents as read_contents
from prm_flax.interop.pth.read import read_pth as read_pth
