"""The worker loop: one thread that owns a device, and decides before each step what to do next."""
