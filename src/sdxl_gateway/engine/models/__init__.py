"""Models on the device: how they are loaded, and who keeps them."""
