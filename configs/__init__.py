"""Experiments: a file each, with a function `config()`; README.md lists them."""
