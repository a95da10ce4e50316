"""Listed: a page of a list, possibly merged from several gateways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sdxl_gateway.core.order import Member

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """`items` in their order, and whether more follow; what `missing` gateways have is not in it, None for all
    others."""

    items: Sequence[T]
    more: bool
    missing: Sequence[Member | None] = ()
