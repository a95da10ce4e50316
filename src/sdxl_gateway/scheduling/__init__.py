"""Pure scheduling rules that both processes use: which images can be batched, what they cost, and fair shares."""
