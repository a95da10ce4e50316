"""Tells receivers what became of jobs: signed, tried again for three days, and remembered."""
