"""What a PRM looks at: arrays (maps) and pictures (plots, module)."""
