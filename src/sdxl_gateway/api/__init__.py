"""The HTTP API: turns requests into Asks, and their outcomes into JSON or streams."""
