"""What networks and attention modules are made of: norms, poolings, activations."""
