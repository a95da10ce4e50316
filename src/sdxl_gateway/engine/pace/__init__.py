"""Measures how fast this processor computes a UNet's layers, and chooses the number format by that."""
