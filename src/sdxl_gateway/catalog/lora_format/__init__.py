"""What a LoRA file means: its dialect, the layers it changes, what it tells of itself; pure, headers only."""
