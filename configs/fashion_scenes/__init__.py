"""Scenes of Fashion-MNIST on a laptop."""
