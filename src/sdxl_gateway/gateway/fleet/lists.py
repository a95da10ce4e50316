"""Gives pages of lists that every gateway has a part of, in the order of all of them together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import Field, astuple, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from sdxl_gateway.core.errors import NotFound, Unavailable
from sdxl_gateway.core.listed import Listed
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.storage.pages import Cut, unknown_after


class Listable(Protocol):
    """What lists hold, in the order of `created`, in unix seconds, and the ids."""

    @property
    def id(self) -> str:
        """Unlike all others'."""
        ...

    @property
    def created(self) -> float:
        """By its own gateway's clock."""
        ...


class Entry(Listable, Protocol):
    """A dataclass whose fields are JSON."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


T = TypeVar("T", bound=Entry)
L = TypeVar("L", bound=Listable)
Filters = Mapping[str, Any]
"""What a list is narrowed to, as JSON."""
PageHere = Callable[[Cut, Filters], Awaitable[tuple[Sequence[T], bool]]]
"""This gateway's own page behind the cut's place, and whether more follow."""
FindHere = Callable[[str, Filters], Awaitable[T | None]]
"""This gateway's own entry of that id."""


class FleetList(Generic[T]):
    """A list of all gateways; `kind` names its questions, and `heard` makes an entry of the fields in an answer."""

    def __init__(
        self,
        questions: Questions,
        kind: str,
        page_here: PageHere[T],
        find_here: FindHere[T],
        heard: Callable[[Sequence[Any]], T],
    ) -> None:
        self._questions = questions
        self._kind, self._finding = kind, f"{kind}: find"
        self._page_here, self._find_here = page_here, find_here
        self._heard = heard
        questions.follow(self._kind, self._own_page)
        questions.follow(self._finding, self._own_entry)

    async def page(self, cut: Cut, **filters: Any) -> Listed[T]:
        """The page of all gateways: every gateway is asked for its own, and the first entries of all are given.

        Raises InvalidRequest for an unknown `after`, and Unavailable when a gateway that does not answer may have it.
        """
        if cut.after is not None:
            cut = replace(cut, after=None, behind=await self._place_of(cut.after, filters))
        own, more = await self._page_here(cut, filters)
        heard = await self._questions.gathered(self._kind, {"cut": astuple(cut), "filters": filters})
        found = [*own, *map(self._heard, heard.items)]
        found.sort(key=_place, reverse=cut.newest_first)
        return Listed(found[: cut.limit], more or len(found) > cut.limit, heard.missing)

    async def find(self, entry_id: str, **filters: Any) -> T | None:
        """The entry of that id, at any gateway. Raises Unavailable when one that does not answer may have it."""
        own = await self._find_here(entry_id, filters)
        if own is not None:
            return own
        found = await self._questions.whoever(self._finding, {"id": entry_id, "filters": filters})
        return self._heard(found[0]) if found else None

    async def _place_of(self, entry_id: str, filters: Filters) -> tuple[float, str]:
        found = await self.find(entry_id, **filters)
        if found is None:
            raise unknown_after(entry_id)
        return _place(found)

    async def _own_page(self, value: Mapping[str, Any]) -> AsyncIterator[Any]:
        """One entry more than the limit, which tells that more follow."""
        cut = Cut(*value["cut"])
        entries, _ = await self._page_here(replace(cut, limit=cut.limit + 1), value["filters"])
        for entry in entries:
            yield astuple(entry)

    async def _own_entry(self, value: Mapping[str, Any]) -> AsyncIterator[Any]:
        found = await self._find_here(value["id"], value["filters"])
        if found is not None:
            yield astuple(found)


async def behind(cut: Cut, find: Callable[[str], Awaitable[Listable]]) -> Cut:
    """The cut with the place behind which it begins. Raises InvalidRequest where `find` finds no `after`."""
    if cut.after is None:
        return cut
    try:
        return replace(cut, behind=_place(await find(cut.after)))
    except NotFound:
        raise unknown_after(cut.after) from None


async def first_ones(listed: AsyncIterator[L], most: int) -> list[L]:
    """At most `most`; fewer where the others cannot be reached any more."""
    found: list[L] = []
    with suppress(Unavailable):
        async for one in listed:
            found.append(one)
            if len(found) == most:
                break
    return found


def merged(own: Iterable[L], others: Iterable[L], cut: Cut) -> list[L]:
    """Both in the order of the cut; what is in both is taken from `own`."""
    found = {one.id: one for one in (*others, *own)}
    return sorted(found.values(), key=_place, reverse=cut.newest_first)


def _place(entry: Listable) -> tuple[float, str]:
    return entry.created, entry.id
