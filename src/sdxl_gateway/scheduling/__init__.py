"""Pure rules that both processes need: what may share a step, what it costs, and whose share it is."""
