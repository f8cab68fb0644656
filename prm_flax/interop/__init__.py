"""Weights in and out: PyTorch's names and files, and safetensors."""
