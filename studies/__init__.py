"""What small hardware can show about PRM on real images: grids of runs, their tables."""
