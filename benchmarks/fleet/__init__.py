"""A fleet of simulated GPUs behind the product's own line, admission and dispatch rule."""
