"""What gateways that share a Redis do together, a file for each kind of thing that they share."""
