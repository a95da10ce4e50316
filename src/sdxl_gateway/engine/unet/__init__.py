"""How a step calls a UNet: as it is, by compiled code, or as a recording; pictures are the same."""
