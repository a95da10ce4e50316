"""Checkpoints that are one safetensors file in the original layout, as model sites share them; headers only."""
