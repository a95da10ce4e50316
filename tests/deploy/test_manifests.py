"""The files one deploys with name settings, routes, ports and metrics that there are, and leave a server its grace."""

from __future__ import annotations

import configparser
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
from tests.kit.series import series

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
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


def test_a_pod_has_its_grace_and_a_moment_to_be_forgotten_in_before() -> None:
    spec, (container,) = pod(), pod()["containers"]
    told = {one["name"]: one.get("value") for one in container["env"]}
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = Settings.model_validate({"server": {"shutdown_grace_seconds": float(told[GRACE])}}).server
    assert before > 0
    assert spec["terminationGracePeriodSeconds"] >= before + grace.shutdown_grace_seconds + 5


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


def test_it_is_scaled_by_a_metric_there_is() -> None:
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    (servers,) = of_kind("StatefulSet")
    assert scaler["spec"]["scaleTargetRef"]["name"] == servers["metadata"]["name"]
    assert {metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]} <= series().keys()


def test_kustomize_takes_each_file() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(path.name for path in KUBERNETES.glob("*.yaml"))
    assert all((KUBERNETES / name).exists() for name in listed)


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["kind"])
def test_kubernetes_takes_each_object(document: dict[str, Any]) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validate.validate(document, "1.33", strict=True)


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
