"""How a step calls a UNet: eagerly, by compiled code, or as a recorded CUDA graph; pictures are the same."""
