"""The stages that an image passes in the engine, one file each; engine/load.py lists them."""
