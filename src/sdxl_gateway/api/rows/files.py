"""Takes the services, gives the rows of the route table about files."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import stored_files
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.rows.paths import prefixed_paths
from sdxl_gateway.api.rows.resource import Row, resource, upload_limit
from sdxl_gateway.api.services import Services

ALL, ONE = "/files", "/files/{file_id}"


def file_rows(services: Services) -> tuple[Route, ...]:
    """Files of the caller's tenant."""
    upload, summary = (
        upload_limit(services, services.settings.files.max_file_bytes),
        "Send a file, for edits or a batch.",
    )
    return resource(
        services,
        "files",
        prefixed_paths,
        Row("POST", ALL, stored_files.create_endpoint, summary, stored_files.CREATE_FILE, body=upload),
        Row("GET", ALL, stored_files.list_endpoint, "Your files, page by page.", stored_files.LIST_FILES),
        Row("GET", ONE, stored_files.one_endpoint, "One file.", stored_files.RETRIEVE_FILE),
        Row("GET", f"{ONE}/content", stored_files.content_endpoint, "A file's bytes.", stored_files.FILE_CONTENT),
        Row("DELETE", ONE, stored_files.delete_endpoint, "Delete a file.", stored_files.DELETE_FILE),
    )
