"""The LoRA folder: listing, watching and naming the files in it, uploads, and the copies that are used to paint."""
