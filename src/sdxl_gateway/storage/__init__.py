"""Remembers finished pictures for as long as their address lives."""
