"""Small studies: what runs of the configs say when they are measured with care."""
