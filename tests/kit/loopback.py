"""Takes an address on this machine, gives what is answered there, and reads no certificates for it."""

from __future__ import annotations

import httpx

loopback = httpx.Client(verify=False, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))
"""For any thread; each request has a connection of its own. Each `httpx.get` takes 20 ms to read certificates."""
