"""Resolves an Ask to a Recipe with everything decided, or refuses it and names the field."""
