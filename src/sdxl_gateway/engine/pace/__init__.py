"""How fast a processor computes a UNet's shapes, and what is chosen by that."""
