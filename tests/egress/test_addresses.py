"""Which addresses are of the public internet, and lead nowhere else."""

from __future__ import annotations

import pytest

from sdxl_gateway.egress.addresses import is_public

PRIVATE = """
127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1
169.254.169.254 169.254.0.1 100.64.0.1 100.100.100.200 192.0.0.192 192.0.0.8 192.0.2.1 192.88.99.1 198.18.0.1
198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1
64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::a00:1 2002:7f00:1:: 2002:808:808:: 2001:0:5ef5:79fb:: 2001:db8::1 3fff::1
fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 2606:4700::1111%eth0 fec0::1 ff02::1 100::1 5f00::1
example.org 8.8.8.8:80 8.8.8.8/32 0x7f.1 2130706433 127.1
"""


@pytest.mark.parametrize("address", [*PRIVATE.split(), ""])
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450::1"])
def test_public(address: str) -> None:
    assert is_public(address)
