"""Turns the gateway's results into JSON replies and stream events."""
