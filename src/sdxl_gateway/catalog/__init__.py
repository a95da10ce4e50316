"""The models that can be used: checkpoints, LoRAs, embeddings and others, and their names; without torch."""
