"""Rows of the route table, by their subject."""
