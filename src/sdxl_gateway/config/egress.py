"""The section on outgoing requests: which other servers this one may contact."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from sdxl_gateway.config.section import Seconds, Section, Words


def _names(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Host names in lower case, as they are compared. Raises ValueError for whole URLs."""
    if wrong := [host for host in hosts if "/" in host or " " in host]:
        raise ValueError(f"should hold names of hosts, and {wrong[0]!r} is none")
    return tuple(host.lower() for host in hosts)


Hosts = Annotated[Words, AfterValidator(_names)]


class Egress(Section):
    """Which hosts pictures may be fetched from, and which hosts may be in a private network.

    `image_hosts` are globs; `private_hosts` are names or IP addresses, each with a port or without.
    """

    image_urls: bool = False
    image_hosts: Hosts = ("*",)
    image_seconds: Seconds = 20.0
    private_hosts: Hosts = ()
