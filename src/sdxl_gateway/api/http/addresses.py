"""The part of a client's address that it is counted by: an IPv6 client has a whole network to itself."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

_NETWORK_BYTES = 8


def counted_as(address: str) -> str:
    """An IPv4 address, or the first half of an IPv6 address; anything else is returned as it is."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{IPv6Address(found.packed[:_NETWORK_BYTES] + bytes(8))}/64"
