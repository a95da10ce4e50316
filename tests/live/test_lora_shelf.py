"""Keys, and the LoRA shelf over HTTP: anyone with a key looks, an admin changes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from openai import AuthenticationError, OpenAI

from sdxl_gateway.config import DEMO_LORAS
from tests.kit.loopback import loopback
from tests.kit.servers import Server, server

KEY, ADMIN = "sk-user-of-the-house", "sk-admin-of-the-house"
BARE = {"content-type": "application/octet-stream"}
SUNSET = (DEMO_LORAS / "sunset.safetensors").read_bytes()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    with server(folder, auth__api_keys=KEY, auth__admin_keys=ADMIN) as one:
        yield one


@pytest.fixture(scope="module")
def user(guarded: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, headers={"authorization": f"Bearer {KEY}"}, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def admin(guarded: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, headers={"authorization": f"Bearer {ADMIN}"}, timeout=120) as client:
        yield client


def add(client: httpx.Client, name: str) -> httpx.Response:
    return client.post("/v1/loras", files={"file": ("x.safetensors", SUNSET)}, data={"name": name})


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEY}"}, {"api-key": KEY}, {"x-api-key": KEY}],
    ids=", ".join,
)
def test_a_key_opens_the_door(guarded: Server, headers: dict[str, str]) -> None:
    assert loopback.get(f"{guarded.url}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}], ids=str)
def test_without_the_key_it_stays_shut(guarded: Server, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/images/generations"), ("GET", "/v1/loras")):
        answer = loopback.request(method, guarded.url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_the_sdk_raises_its_own_error(guarded: Server) -> None:
    with (
        OpenAI(base_url=f"{guarded.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(AuthenticationError, match="Incorrect API key"),
    ):
        client.images.generate(model="demo", prompt="a")


def test_a_picture_needs_the_key_and_its_address_does_not(user: httpx.Client) -> None:
    said = {"prompt": "a red circle", "steps": 2, "response_format": "url"}
    address = user.post("/v1/images/generations", json=said).json()["data"][0]["url"]

    assert loopback.get(address).content.startswith(b"\x89PNG")


def test_health_and_metrics_need_no_key(guarded: Server) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert loopback.get(guarded.url + path).status_code == 200


def test_loras_are_listed_with_their_report(user: httpx.Client) -> None:
    listed = {entry["id"]: entry for entry in user.get("/v1/loras").json()["data"]}
    one = user.get("/v1/loras/sunset").json()

    assert {"outline", "stripes", "sunset"} <= set(listed)
    assert one["usable"]
    assert one["digest"]
    assert one["report"]
    assert user.get("/v1/loras/nothing").status_code == 404


def test_only_an_admin_changes_the_shelf(user: httpx.Client, guarded: Server) -> None:
    assert add(user, "mine").status_code == 403
    assert user.delete("/v1/loras/sunset").status_code == 403
    assert not (guarded.loras / "mine.safetensors").exists()
    assert (guarded.loras / "sunset.safetensors").exists()


def test_an_admin_adds_uses_and_removes_a_lora(admin: httpx.Client, user: httpx.Client, guarded: Server) -> None:
    added = add(admin, "mine")
    assert added.status_code == 201, added.text
    assert (guarded.loras / "mine.safetensors").read_bytes() == SUNSET

    pictures = []
    for name in ("demo+mine", "demo+sunset"):
        said = {"prompt": "a red circle", "steps": 2, "seed": 1, "model": name, "response_format": "b64_json"}
        pictures.append(user.post("/v1/images/generations", json=said).json()["data"][0]["b64_json"])
    assert pictures[0] == pictures[1]

    again = add(admin, "mine")
    assert (again.status_code, again.json()["error"]["param"]) == (400, "name")
    assert admin.delete("/v1/loras/mine").json() == {"id": "mine", "object": "lora", "deleted": True}
    assert admin.delete("/v1/loras/mine").status_code == 404
    assert user.get("/v1/models/mine").status_code == 404
    assert not (guarded.loras / "mine.safetensors").exists()


def test_a_name_may_lead_through_folders(admin: httpx.Client, guarded: Server) -> None:
    added = admin.post("/v1/loras", params={"name": "styles/warm.v2"}, content=SUNSET, headers=BARE)
    assert (added.status_code, added.json()["usable"]) == (201, True), added.text
    assert (guarded.loras / "styles" / "warm.v2.safetensors").read_bytes() == SUNSET
    assert admin.get("/v1/loras/styles/warm.v2").json()["digest"] == added.json()["digest"]
    assert admin.delete("/v1/loras/styles/warm.v2").status_code == 200
    assert not (guarded.loras / "styles" / "warm.v2.safetensors").exists()


def test_a_bad_upload_leaves_the_folder_as_it_was(admin: httpx.Client, guarded: Server) -> None:
    before = sorted(guarded.loras.iterdir())
    for name, data in (("rubbish", b"no LoRA"), ("cut", SUNSET[:-100]), ("../outside", SUNSET)):
        answer = admin.post("/v1/loras", params={"name": name}, content=data, headers=BARE)
        assert answer.status_code == 400, answer.text
        assert str(guarded.folder) not in answer.text
    assert sorted(guarded.loras.iterdir()) == before


def test_what_came_with_the_server_is_served_and_stays(admin: httpx.Client, user: httpx.Client) -> None:
    assert admin.delete("/v1/loras/outline").status_code == 200  # the folder's own, which went before it
    again = admin.delete("/v1/loras/outline")
    error = again.json()["error"]
    assert (again.status_code, error["param"]) == (400, "name")
    assert "'outline'" in error["message"]

    said = {"prompt": "a red circle", "steps": 2, "model": "demo+outline", "response_format": "b64_json"}
    assert user.post("/v1/images/generations", json=said).status_code == 200
    assert user.get("/v1/loras/outline").json()["usable"]
