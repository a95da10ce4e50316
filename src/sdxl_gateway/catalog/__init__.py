"""What there is to paint with: checkpoints, LoRAs and their names, read without torch."""
