"""The story of a request, and of what callers may ask for."""
