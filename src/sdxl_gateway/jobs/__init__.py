"""The bounded, fair queue of jobs, and their dispatch to engines."""
