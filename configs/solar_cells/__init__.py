"""Photographs of solar cells, functional or defective: small and real."""
