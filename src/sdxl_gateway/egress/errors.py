"""Why another server was not asked, or gave nothing; the texts hold no address that a name was resolved to."""

from __future__ import annotations


class EgressRefused(Exception):
    """Nothing was sent: what the address says, or leads to, is not to be reached from here."""


class EgressFailed(Exception):
    """The other server was not reached, or gave no answer that can be used."""


class TooSlow(EgressFailed):
    """The whole of it took longer than allowed."""


class TooLarge(EgressFailed):
    """More bytes than allowed."""


class Encoded(EgressFailed):
    """The answer came compressed, although it was not asked to."""
