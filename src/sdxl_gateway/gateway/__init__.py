"""The story of a request, of a stored job and of a batch; the library of what callers may ask for."""
