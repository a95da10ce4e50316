"""The loop: one thread that owns a device and decides, between any two steps, what to do next."""
