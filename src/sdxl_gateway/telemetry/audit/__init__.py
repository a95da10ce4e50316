"""Writes down who did what: lines in a hash chain, which nobody changes, cuts or removes unnoticed."""
