"""The files one deploys with name settings, routes, ports and metrics that there are, and leave a server its grace."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from sdxl_gateway.api.http.route import Access
from sdxl_gateway.config import Settings
from sdxl_gateway.config.sections import ENVIRONMENT_PREFIX
from tests.kit.api import served_api

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes" / "base"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.suffix in (".yaml", ".yml", ".service"))
YAML = [path for path in FILES if path.suffix != ".service"]
GRACE = f"{ENVIRONMENT_PREFIX}SERVER__SHUTDOWN_GRACE_SECONDS"
DEFAULT_PORT = Settings().server.port


def documents() -> list[dict[str, Any]]:
    """All of Kubernetes', but for kustomize's own."""
    files = (path for path in sorted(KUBERNETES.glob("*.yaml")) if path.name != "kustomization.yaml")
    return [document for path in files for document in yaml.safe_load_all(path.read_text("utf-8"))]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in documents() if document["kind"] == kind]


def pod() -> dict[str, Any]:
    (servers,) = of_kind("StatefulSet")
    found: dict[str, Any] = servers["spec"]["template"]["spec"]
    return found


def is_setting(words: list[str]) -> bool:
    """A section's key, or a key that stands in none."""
    model: Any = Settings
    for word in words:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or word not in model.model_fields:
            return False
        model = model.model_fields[word].annotation
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_setting_that_is_named_is_one(path: Path) -> None:
    text = path.read_text("utf-8")
    for name in re.findall(rf"\b{ENVIRONMENT_PREFIX}(\w+)", text):
        assert is_setting(name.lower().split("__")), name
    sections = "|".join(name for name, one in Settings.model_fields.items() if isinstance(one.annotation, type))
    for section, key in re.findall(rf"^\s*#.*?\b({sections})\.(\w+)", text, re.MULTILINE):
        assert is_setting([section, key]), f"{section}.{key}"


def test_compose_and_systemd_wait_longer_than_the_grace() -> None:
    gateway = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))["services"]["gateway"]
    assert int(gateway["stop_grace_period"].removesuffix("s")) >= float(gateway["environment"][GRACE]) + 5
    text = (DEPLOY / "systemd" / "sdxl-gateway.service").read_text("utf-8")
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(text)
    (grace,) = re.findall(rf"{GRACE}=(\d+)", text)
    assert int(unit["Service"]["timeoutstopsec"]) >= int(grace) + 5
    assert unit["Service"]["execstart"].endswith("sdxl-gateway serve")


def test_probes_ask_what_answers_without_a_key_at_the_port_there_is() -> None:
    openly = {
        path for row in served_api().rows if row.access is Access.OPEN and row.verb == "GET" for path in row.paths
    }
    (container,) = pod()["containers"]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    dstack = yaml.safe_load((DEPLOY / "dstack" / "service.dstack.yml").read_text("utf-8"))
    assert {probe["path"] for probe in probes.values()} | {one["url"] for one in dstack["probes"]} <= openly
    assert probes["livenessProbe"]["path"] != probes["readinessProbe"]["path"]
    (port,) = container["ports"]
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert dstack["port"] == port["containerPort"] == DEFAULT_PORT


def test_what_selects_the_servers_selects_them() -> None:
    (servers,) = of_kind("StatefulSet")
    labels = servers["spec"]["template"]["metadata"]["labels"]
    selectors = [service["spec"]["selector"] for service in of_kind("Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in (*of_kind("PodDisruptionBudget"), servers)]
    selectors += [policy["spec"]["podSelector"]["matchLabels"] for policy in of_kind("NetworkPolicy")]
    assert selectors == [labels] * 5
    assert servers["spec"]["serviceName"] in {service["metadata"]["name"] for service in of_kind("Service")}


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_is_written_well(path: Path) -> None:
    linter = pytest.importorskip("yamllint.linter", reason="yamllint is not installed")
    rules = pytest.importorskip("yamllint.config").YamlLintConfig(file=str(DEPLOY / ".yamllint.yml"))
    found = list(linter.run(path.read_text("utf-8"), rules))
    assert [(one.line, one.message) for one in found] == []


def test_what_compose_mounts_is_there() -> None:
    folder = DEPLOY / "compose"
    services = yaml.safe_load((folder / "compose.yaml").read_text("utf-8"))["services"]
    mounts = [mount.split(":")[0] for service in services.values() for mount in service.get("volumes", ())]
    for place in (*(mount for mount in mounts if mount.startswith(".")), services["gateway"]["build"]):
        assert (folder / place).is_dir(), place
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    (target,) = scraped[0]["static_configs"][0]["targets"]
    assert target.split(":")[0] in services


def composed(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / name).read_text("utf-8"))
    return found


def test_servers_that_share_in_compose_have_what_they_need_to() -> None:
    services = composed("shared.yaml")["services"]
    for name in ("gateway", "gateway-two"):
        told = services[name]["environment"]
        assert told[f"{ENVIRONMENT_PREFIX}REDIS__URL"].endswith("@redis:6379/0")
        assert told[f"{ENVIRONMENT_PREFIX}S3__ENDPOINT"] == "http://objects:8333"
        assert {f"{ENVIRONMENT_PREFIX}AUTH__PEPPER", f"{ENVIRONMENT_PREFIX}DELIVERY__URL_KEY"} <= told.keys()
        assert services[name]["depends_on"].keys() == {"redis", "bucket"}
    alone, two = composed("compose.yaml")["services"]["gateway"], services["gateway-two"]
    assert int(two["stop_grace_period"].removesuffix("s")) >= float(two["environment"][GRACE]) + 5
    cards = [one["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for one in (alone, two)]
    assert cards == [["0"], ["1"]], "a GPU each"
    places = [dict(reversed(mount.split(":", 1)) for mount in one["volumes"]) for one in (alone, two)]
    assert places[0].keys() == places[1].keys()
    data = [one["/srv/gateway/data"] for one in places]
    assert data == ["data", "data-two"], "a data directory is one server's"


def test_the_store_lets_the_servers_in_and_their_bucket_is_made() -> None:
    shared = composed("shared.yaml")
    (one,) = json.loads(shared["configs"]["objects"]["content"])["identities"]
    told, bucket = shared["services"]["gateway"]["environment"], shared["services"]["bucket"]
    assert one["credentials"][0]["accessKey"] == told["AWS_ACCESS_KEY_ID"]
    assert f"create-bucket --bucket {told[f'{ENVIRONMENT_PREFIX}S3__BUCKET']};" in bucket["command"][0]
    assert bucket["environment"]["AWS_ENDPOINT_URL"] == told[f"{ENVIRONMENT_PREFIX}S3__ENDPOINT"]


def test_the_proxy_leads_to_both_and_lets_through_what_they_take() -> None:
    text = (DEPLOY / "compose" / "proxy.conf").read_text("utf-8")
    asked = re.findall(r"^\s*server ([\w-]+):(\d+)", text, re.MULTILINE)
    assert asked == [("gateway", str(DEFAULT_PORT)), ("gateway-two", str(DEFAULT_PORT))]
    services, settings = composed("shared.yaml")["services"], Settings()
    (published,) = services["proxy"]["ports"]
    (port,) = re.findall(r"listen (\d+);", text)
    assert published.endswith(f":{port}")
    assert int(re.findall(r"client_max_body_size (\d+)m", text)[0]) * 2**20 > settings.files.max_file_bytes
    assert int(re.findall(r"proxy_read_timeout (\d+)s", text)[0]) > settings.limits.deadline_seconds
    (config,) = [word for word in services["prometheus"]["command"] if "config.file" in word]
    scraped = yaml.safe_load((DEPLOY / "prometheus" / config.rpartition("/")[2]).read_text("utf-8"))["scrape_configs"]
    assert scraped[0]["static_configs"][0]["targets"] == [f"{host}:{port}" for host, port in asked]


@pytest.mark.parametrize("name", ["compose.yaml", "shared.yaml"])
def test_each_image_is_of_one_version(name: str) -> None:
    images = [one["image"] for one in composed(name)["services"].values() if "image" in one]
    assert all(re.fullmatch(r"[\w./-]+:v?\d[\w.-]*", image) for image in images), images
