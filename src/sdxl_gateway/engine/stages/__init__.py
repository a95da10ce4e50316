"""What an image passes on its way through the engine, a file a stage; engine/load.py has the list."""
