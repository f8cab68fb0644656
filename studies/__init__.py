"""What small hardware can show of PRM on real images: grids of runs, their tables."""
