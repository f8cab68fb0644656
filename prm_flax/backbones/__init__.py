"""The networks PRM is put into, and the registry that builds them by name."""
