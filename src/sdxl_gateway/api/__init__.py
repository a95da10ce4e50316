"""Speaks HTTP: turns bytes into an Ask, and what happens to it back into JSON or a stream."""
