"""Fashion-MNIST on a laptop."""
