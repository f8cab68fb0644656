"""The PRM module: the definition (functional), and its Linen and NNX forms."""
