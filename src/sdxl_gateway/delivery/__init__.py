"""Hands pictures out: judges, finishes and encodes them, and tells how each was made."""
