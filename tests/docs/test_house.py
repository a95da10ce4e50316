"""The house keeps its figures: short functions, short files, everything annotated and public things described."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

PACKAGE = Path(__file__).parents[2] / "src" / "sdxl_gateway"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE_LINES = 300
DESCRIBED_SHARE = 0.85

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Defined:
    """A function or a class; `public` when neither it nor anything around it is private or inside a function."""

    node: Function | ast.ClassDef
    place: str
    public: bool

    @property
    def body_lines(self) -> int:
        body = self.node.body[1:] if ast.get_docstring(self.node) else self.node.body
        return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _defined(tree: ast.AST, file: Path, public: bool = True) -> Iterator[Defined]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef):
            shown = public and not node.name.startswith("_")
            yield Defined(node, f"{file.relative_to(PACKAGE)}:{node.lineno} {node.name}", shown)
            yield from _defined(node, file, shown and isinstance(node, ast.ClassDef))
        else:
            yield from _defined(node, file, public)


ALL = [one for file in FILES for one in _defined(ast.parse(file.read_text("utf-8")), file)]


def test_functions_are_short() -> None:
    lengths = [one.body_lines for one in ALL if isinstance(one.node, Function)]
    assert median(lengths) <= 5
    assert quantiles(lengths, n=10)[-1] <= 13


def test_files_are_short() -> None:
    assert [file.name for file in FILES if len(file.read_text("utf-8").splitlines()) > MAX_FILE_LINES] == []


def test_every_module_says_in_a_sentence_what_it_is() -> None:
    assert [file for file in FILES if not ast.get_docstring(ast.parse(file.read_text("utf-8")))] == []


def test_everything_is_annotated() -> None:
    for one in ALL:
        if isinstance(one.node, Function):
            arguments = [*one.node.args.posonlyargs, *one.node.args.args, *one.node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            assert (one.node.returns is None, bare) == (False, []), one.place


def test_what_is_public_is_described() -> None:
    public = [one for one in ALL if one.public]
    bare = [one.place for one in public if not ast.get_docstring(one.node)]
    assert len(bare) <= (1 - DESCRIBED_SHARE) * len(public), "\n".join(bare)
