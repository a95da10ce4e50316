"""Whose turn: the bounded, fair line and the engine processes it feeds."""
