"""What the gateways that share a Redis do together: each file is a part of that."""
