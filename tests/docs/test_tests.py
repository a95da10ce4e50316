"""What tests share lies in modules of its own: no file takes anything from a test module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for folder in ("tests", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py"))


def _imported(source: str) -> Iterator[str]:
    """Every dotted name that is imported, whole: `from a.b import c` may mean the module `a.b.c`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def _from_test_modules(source: str) -> list[str]:
    return [name for name in _imported(source) if any(part.startswith("test_") for part in name.split("."))]


def test_no_file_imports_from_a_test_module() -> None:
    found = {path.relative_to(ROOT).as_posix(): _from_test_modules(path.read_text("utf-8")) for path in FILES}
    assert len(found) > 100
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "from tests.catalog.test_safetensors_header import ATTACKS",
        "from tests.catalog import test_header",
        "import tests.catalog.test_safetensors_header as header",
        "from . import test_header",
        "def later():\n    from .test_header import ATTACKS",
    ],
)
def test_an_import_in_any_spelling_is_seen(source: str) -> None:
    assert _from_test_modules(source)
