"""What several gateways know together, in Redis; the only room that knows it."""
