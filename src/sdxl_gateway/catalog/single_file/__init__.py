"""Checkpoints that are one safetensors file in the original layout, as model sites share them; reads headers only."""
