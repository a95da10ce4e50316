"""Takes the services, gives the rows of the route table about files."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import stored_files
from sdxl_gateway.api.http.route import BodyLimit, Route
from sdxl_gateway.api.rows.paths import prefixed_paths
from sdxl_gateway.api.services import Services


def file_rows(services: Services) -> tuple[Route, ...]:
    """Files of the caller's tenant."""
    limits, seconds = services.settings.files, services.settings.server.receive_timeout_seconds
    upload = BodyLimit(limits.max_file_bytes + stored_files.FORM_OVERHEAD_BYTES, seconds, each_piece=True)
    one = "/files/{file_id}"
    rows = (
        (
            "POST",
            "/files",
            stored_files.create_endpoint,
            "Send a file, for edits or a batch.",
            stored_files.CREATE_FILE,
        ),
        ("GET", "/files", stored_files.list_endpoint, "Your files, page by page.", stored_files.LIST_FILES),
        ("GET", one, stored_files.one_endpoint, "One file.", stored_files.RETRIEVE_FILE),
        ("GET", f"{one}/content", stored_files.content_endpoint, "A file's bytes.", stored_files.FILE_CONTENT),
        ("DELETE", one, stored_files.delete_endpoint, "Delete a file.", stored_files.DELETE_FILE),
    )
    return tuple(
        Route(verb, prefixed_paths(path), made(services), "files", about, told, body=upload if verb == "POST" else None)
        for verb, path, made, about, told in rows
    )
