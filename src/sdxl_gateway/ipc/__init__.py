"""Messages between processes: JSON text, and pixels as passed memory. Nothing is pickled."""
