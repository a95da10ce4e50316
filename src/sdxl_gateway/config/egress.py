"""The section about other servers: which of them this one asks for something."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from sdxl_gateway.config.section import Seconds, Section, Words


def _names(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """As they are compared: in lower case. Raises ValueError for whole addresses."""
    if wrong := [host for host in hosts if "/" in host or " " in host]:
        raise ValueError(f"should hold names of hosts, and {wrong[0]!r} is none")
    return tuple(host.lower() for host in hosts)


Hosts = Annotated[Words, AfterValidator(_names)]


class Egress(Section):
    """Pictures given by their address, and hosts that may stand in a network that is not public.

    `image_hosts` are globs; `private_hosts` are names or addresses, each with a port or without.
    """

    image_urls: bool = False
    image_hosts: Hosts = ("*",)
    image_seconds: Seconds = 20.0
    private_hosts: Hosts = ()
