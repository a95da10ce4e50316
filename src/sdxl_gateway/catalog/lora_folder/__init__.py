"""What lies in the LoRA folder: listed, watched, named, uploaded, and copied before it is used."""
