"""Who asks: keys become callers."""
