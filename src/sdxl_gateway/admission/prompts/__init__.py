"""Reads prompts: syntax, styles, LoRA tags, embeddings."""
