"""Takes an IP address, tells whether it belongs to the public internet and leads to nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

CLOSED = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # what Azure tells its machines
            "192.0.0.0/24",  # protocols' own, and what Oracle's cloud tells its machines
            "192.88.99.0/24",  # relays into 6to4
            "::/96",  # IPv4 inside of IPv6, as it was written once
            "64:ff9b::/96",  # NAT64: any IPv4 address
            "64:ff9b:1::/48",
            "2001::/23",  # protocols' own, and Teredo: any IPv4 address
            "2002::/16",  # 6to4: any IPv4 address
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
        ),
    )
)
"""What `is_global` of some Python versions lets through."""


def is_public(text: str) -> bool:
    """An address as text; one of a zone (`fe80::1%eth0`) is never public, nor is what is no address."""
    try:
        address = _plain(ip_address(text))
    except ValueError:
        return False
    return address.is_global and not _special(address) and not any(address in network for network in CLOSED)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address in a mapped one."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _special(address: IPv4Address | IPv6Address) -> bool:
    """A zone, or a block that is given out to nobody; `is_site_local` is the former private block of IPv6."""
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.is_site_local):
        return True
    return address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified
