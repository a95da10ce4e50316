"""What an image passes on its way through the engine, a file a stage."""
