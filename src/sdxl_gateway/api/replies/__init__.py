"""What the gateway gave becomes JSON, or events of a stream."""
