"""Hands pictures out, and tells how each was made. No torch."""
