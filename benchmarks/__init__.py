"""What the promises cost on this machine."""
