"""Tells operators by which settings the server runs; what is secret in them stays so."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.settings import SettingList, setting_list
from sdxl_gateway.api.services import Services

LIST_SETTINGS = Description("listSettings", {200: Reply("The settings in force.", SettingList)})


def settings_endpoint(services: Services) -> Endpoint:
    """GET: those in force now, whatever the file says by this time."""

    async def list_settings(_: Request) -> Response:
        return JSONResponse(setting_list(services.settings))

    return list_settings
