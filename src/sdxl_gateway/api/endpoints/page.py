"""Serves the page for browsers: a few files of the package, from memory, in which no foreign script can run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from sdxl_gateway.api.http.route import Description, Reply
from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.core.text import shown

FOLDER = Path(__file__).parents[2] / "page"
FIRST = "index.html"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Revalidated each time, with an answer without a body: a newer server never meets an older page.
    "cache-control": "no-cache",
}
_UNCHANGED = Reply("Not modified since the version named in `if-none-match`.")


def _text(*types: str) -> dict[str, dict[str, dict[str, str]]]:
    return {kind: {"schema": {"type": "string"}} for kind in types}


PAGE = Description("page", {200: Reply("The page.", content=_text("text/html")), 304: _UNCHANGED})
PAGE_FILE = Description(
    "pageFile",
    {200: Reply("The file.", content=_text("text/css", "text/javascript")), 304: _UNCHANGED},
    errors=(404,),
)
DOCS = Description("docs", {307: Reply("To the page's view of this document.", content=_text("text/plain"))})


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file as it is served; `etag` is quoted, as in headers."""

    data: bytes
    media_type: str
    etag: str


@cache
def files() -> dict[str, PageFile]:
    """All files by name, read once."""
    return {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}


def _read(path: Path) -> PageFile:
    data = path.read_bytes()
    return PageFile(data, _TYPES[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:32]}"')


async def page(request: Request) -> Response:
    """GET: the page."""
    return _served(request, files()[FIRST])


async def page_file(request: Request) -> Response:
    """GET: a style sheet or a script of the page. Raises NotFound."""
    name = request.path_params["name"]
    found = None if name == FIRST else files().get(name)
    if found is None:
        raise NotFound(f"The page has no file {shown(name)}.")
    return _served(request, found)


async def docs(request: Request) -> Response:
    """GET: a redirect to the page's view of the API; relative, so that a prefix before it is kept."""
    return PlainTextResponse("./#api", 307, headers=HEADERS | {"location": "./#api"})


def _served(request: Request, file: PageFile) -> Response:
    headers = HEADERS | {"etag": file.etag}
    if _known(request.headers.get("if-none-match", ""), file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.media_type, headers=headers)


def _known(said: str, etag: str) -> bool:
    return any(one.strip().removeprefix("W/") in (etag, "*") for one in said.split(","))
