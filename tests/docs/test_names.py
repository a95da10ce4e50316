"""What pages name of the product is there: settings, addresses, headers, metrics, extras, options and modules."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from sdxl_gateway.config import Settings
from tests.kit.api import served_api
from tools.links import pages

ROOT = Path(__file__).parents[2]
PAGES = pages(ROOT)
SOURCE = "".join(path.read_text("utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
METRICS = set(re.findall(r"^\| `(sdxl_gateway_\w+?)`", (ROOT / "docs" / "METRICS.md").read_text("utf-8"), re.MULTILINE))
SERIES = re.compile(r"_(?:bucket|sum|count)$")
ADDRESS = re.compile(r"(?<![\w.:/])(/(?:v1/[^\s`'\")?,;*]+|healthz|readyz|metrics))")
EVENTS = {"audit.gap"}
"""Written like settings: lines of the audit log."""
PLACEHOLDER = re.compile(r"\$\{?\w+\}?|\{\w+\}|[A-Z]{2}[A-Z-]*")


def _keys(section: type[BaseModel], before: str = "") -> Iterator[str]:
    """Every setting as pages write it; what stands under a name of the operator's own is found without that name."""
    for name, field in section.model_fields.items():
        yield before + name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind, f"{before}{name}.")


KEYS = set(_keys(Settings))
ROUTES = [re.compile(re.sub(r"\{\w+(:path)?\}", ".+", path)) for row in served_api().rows for path in row.paths]


@pytest.fixture(params=PAGES, ids=str)
def text(request: pytest.FixtureRequest) -> str:
    page: Path = ROOT / request.param
    return page.read_text("utf-8")


def test_settings_are_there(text: str) -> None:
    dotted = re.findall(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)+)(?: = [^`]*)?`", text)
    assert {key for key in dotted if key.split(".")[0] in Settings.model_fields} <= KEYS | EVENTS


def test_settings_of_the_environment_are_there(text: str) -> None:
    keys = {name.lower().replace("__", ".") for name in re.findall(r"\bSDXL_GATEWAY__([A-Z_]*[A-Z])\b", text)}
    assert keys <= KEYS


def test_examples_of_settings_can_be_used(text: str) -> None:
    for example in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        Settings.model_validate(tomllib.loads(example))


def test_addresses_are_routes(text: str) -> None:
    named = {PLACEHOLDER.sub("x", address).rstrip("/.:\\]") for address in ADDRESS.findall(text)}
    assert {name for name in named if not any(_leads(route, name) for route in ROUTES)} == set()


def _leads(route: re.Pattern[str], name: str) -> bool:
    """To the route itself, or to one below: `/v1/images/...`."""
    return route.fullmatch(name) is not None or route.pattern.startswith(f"{name}/")


def test_headers_are_sent(text: str) -> None:
    assert [name for name in re.findall(r"\bx-sdxl-gateway(?:-[a-z]+)+", text) if name not in SOURCE] == []


def test_metrics_are_those_of_their_page(text: str) -> None:
    named = {SERIES.sub("", name) for name in re.findall(r"\bsdxl_gateway_[a-z_]+[a-z](?=[`{\[ ])", text)}
    assert {name for name in named if not (ROOT / "src" / name).exists()} <= METRICS


def test_extras_are_there(text: str) -> None:
    named = re.findall(r"sdxl-gateway\[([a-z,]+)\]", text) + re.findall(r"\bextra `([a-z0-9]+)`", text)
    assert {name for names in named for name in names.split(",")} <= set(EXTRAS)


def test_modules_that_are_run_are_there(text: str) -> None:
    for name in re.findall(r"python -m ((?:benchmarks|tools|tests)\.[\w.]*\w)", text):
        place = ROOT / name.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name
