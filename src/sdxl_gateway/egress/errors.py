"""Why another server was not asked, or gave nothing usable; the texts never contain a resolved IP address."""

from __future__ import annotations


class EgressRefused(Exception):
    """Nothing was sent, as the address, or what it leads to, is not allowed."""


class EgressFailed(Exception):
    """The other server was not reached, or gave no usable answer."""


class TooSlow(EgressFailed):
    """The request took longer than allowed in all."""


class TooLarge(EgressFailed):
    """The answer has more bytes than allowed."""


class Encoded(EgressFailed):
    """The answer is compressed, though the request asked for none."""
