"""The checkpoint folder: finding, reading and watching the checkpoints in it."""
