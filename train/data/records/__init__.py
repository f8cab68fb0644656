"""Records: examples in files, and how they are read."""
