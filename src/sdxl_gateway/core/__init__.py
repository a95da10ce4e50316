"""The nouns every room shares; standard library only."""
