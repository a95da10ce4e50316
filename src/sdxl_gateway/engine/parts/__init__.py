"""What options add to a canvas's steps, a file an option; engine/load.py has the list of those in use."""
