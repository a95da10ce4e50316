"""Whose turn: the bounded, fair queue and the engines it feeds."""
