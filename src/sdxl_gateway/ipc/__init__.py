"""What runs between two processes: messages as JSON, pixels as passed memory. Nothing is pickled."""
