"""What PRM costs: on chips that are not here, on this machine, against others."""
