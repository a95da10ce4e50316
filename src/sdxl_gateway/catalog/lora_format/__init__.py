"""The format of LoRA files: dialects, the layers they change, their metadata; pure functions that read headers only."""
