"""Loads models, places them on the device, and keeps or evicts them."""
