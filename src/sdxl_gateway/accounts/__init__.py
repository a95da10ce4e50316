"""Who asks, and how much of it they may: keys become callers, with limits and an account of what they use."""
