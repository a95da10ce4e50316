"""Parses requests into Asks: the table of fields, and every spelling of them that clients use."""
