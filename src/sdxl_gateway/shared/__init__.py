"""State that several gateways share in Redis; no other room knows Redis."""
