"""Takes an IP address, tells whether it is on the public internet and cannot lead anywhere else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

CLOSED = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # Azure's metadata for its machines
            "192.0.0.0/24",  # reserved for protocols, and Oracle Cloud's metadata for its machines
            "192.88.99.0/24",  # relays into 6to4
            "::/96",  # IPv4-compatible IPv6 addresses, deprecated
            "64:ff9b::/96",  # NAT64: any IPv4 address
            "64:ff9b:1::/48",  # NAT64 within one network
            "2001::/23",  # reserved for protocols, and Teredo: any IPv4 address
            "2002::/16",  # 6to4: any IPv4 address
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
        ),
    )
)
"""Networks that `is_global` accepts in some Python versions."""


def is_public(text: str) -> bool:
    """For an address as text; one with a zone (`fe80::1%eth0`) is never public, nor is any other text."""
    try:
        address = _plain(ip_address(text))
    except ValueError:
        return False
    return address.is_global and not _special(address) and not any(address in network for network in CLOSED)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv4-mapped one; others unchanged."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _special(address: IPv4Address | IPv6Address) -> bool:
    """With a zone, or in a block not assigned to hosts; `is_site_local` is IPv6's former private block."""
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.is_site_local):
        return True
    return address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified
