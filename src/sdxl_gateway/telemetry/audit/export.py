"""Exports an audit log's lines by tenant and time, as JSON lines or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdxl_gateway.telemetry.audit.chain import Chain
from sdxl_gateway.telemetry.audit.line import FIELDS, BrokenLine, read, utc
from sdxl_gateway.telemetry.audit.verify import numbered

COLUMNS = ("seq", *FIELDS, "more", "hash")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The tenant, and the time from (inclusive) and to (exclusive), in unix seconds; None stands for all."""

    tenant: str | None = None
    since: float | None = None
    until: float | None = None

    def has(self, said: Mapping[str, Any]) -> bool:
        """Whether a line is wanted, which includes what the tenant did to another's things."""
        at = said["at"]
        return (
            (self.tenant is None or self.tenant in (said["tenant"], said["actor_tenant"]))
            and (self.since is None or at >= utc(self.since))
            and (self.until is None or at < utc(self.until))
        )


def lines_of(chain: Chain, wanted: Wanted = Wanted()) -> Iterator[dict[str, Any]]:
    """The lines with their numbers and hashes; broken ones are left to `verify`."""
    for _, raw in numbered(chain.snapshot()[1]):
        try:
            line = read(raw)
        except BrokenLine:
            continue
        if wanted.has(line.said):
            yield {"seq": line.link.seq, **line.said, "hash": line.link.digest}


def as_json(lines: Iterator[dict[str, Any]]) -> Iterator[str]:
    """One line each."""
    for line in lines:
        yield json.dumps(line)


def as_csv(lines: Iterator[dict[str, Any]]) -> Iterator[str]:
    """A line of titles, then one each; `more` is JSON."""
    yield _row(COLUMNS)
    for line in lines:
        yield _row([_harmless(json.dumps(line[name]) if name == "more" else line[name]) for name in COLUMNS])


def _row(values: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _harmless(value: Any) -> Any:
    """The text, made safe for spreadsheets, which take some beginnings for a formula; names come from callers."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
