"""Takes the settings, gives who brings the pictures that requests only name."""

from __future__ import annotations

from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Place
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.ports import PictureSource
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.gateway.file_pictures import FilePictures
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.gateway.web_pictures import WebPictures
from sdxl_gateway.storage.files import FileStore


def named_pictures(settings: Settings, files: FileStore, egress: Egress, listener: Listener) -> NamedPictures:
    """From the files that were sent, and from the web where that is allowed."""
    sources: dict[Place, PictureSource] = {Place.FILE: FilePictures(files)}
    if settings.egress.image_urls:
        most = settings.limits.max_image_bytes
        sources[Place.WEB] = WebPictures(egress, settings.egress, most, listener)
    return NamedPictures(sources, most_bytes=settings.server.max_body_bytes)
