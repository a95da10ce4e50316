"""Paints: the only room that knows torch."""
