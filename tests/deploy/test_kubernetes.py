"""Each way to deploy in Kubernetes is whole: its schemas take it, it is wired to what there is, private, in time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sdxl_gateway.config import Settings, load_settings
from sdxl_gateway.config.sections import ENVIRONMENT_PREFIX
from tests.kit.kustomized import Object, in_order, kustomized, objects_in
from tests.kit.series import series

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
PLACES = ("base", "overlays/shared", "overlays/spot", "overlays/cluster")
CLUSTER = KUBERNETES / "overlays" / "cluster"
SPOT_SECONDS = 25
"""What the shortest notice of a spot node leaves a pod; Google's."""
RAY_SCHEMA = json.loads((Path(__file__).parent / "rayservice.json").read_text("utf-8"))
SERVER = "app.kubernetes.io/component"
BUILT = {place: kustomized(KUBERNETES / place) for place in PLACES}
OBJECTS = [
    pytest.param(one, id=f"{place}-{one['kind']}-{one['metadata']['name']}")
    for place, objects in BUILT.items()
    for one in objects
    if one["kind"] != "RayService"
]
"""All that Kubernetes itself knows."""


def of(place: str, kind: str) -> dict[str, Object]:
    """By name."""
    return {one["metadata"]["name"]: one for one in BUILT[place] if one["kind"] == kind}


def servers(place: str) -> Object:
    """What runs the servers."""
    (found,) = [one for one in BUILT[place] if one["metadata"].get("labels", {}).get(SERVER) == "server"]
    return found


def pod(place: str) -> Object:
    found: Object = servers(place)["spec"]["template"]["spec"]
    return found


def environment(place: str) -> dict[str, Any]:
    """Of the server: values, or where they come from."""
    (container,) = pod(place)["containers"]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def pool() -> Object:
    found: Object = of("overlays/cluster", "RayService")["sdxl-gateway-engines"]["spec"]
    return found


def groups() -> list[Object]:
    """Of the engine pool: the head, and the workers."""
    config = pool()["rayClusterConfig"]
    return [config["headGroupSpec"], *config["workerGroupSpecs"]]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("place", PLACES)
def test_kustomize_builds_it_as_it_is_tested_here(place: str) -> None:
    told = subprocess.run(["kubectl", "kustomize", KUBERNETES / place], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert in_order(yaml.safe_load_all(told.stdout)) == in_order(BUILT[place])


@pytest.mark.parametrize("one", OBJECTS)
def test_kubernetes_takes_each_object(one: Object) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validate.validate(one, "1.33", strict=True)


def test_kuberay_takes_the_pool() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="kubernetes-validate is not installed")
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    jsonschema.validate(of("overlays/cluster", "RayService")["sdxl-gateway-engines"], RAY_SCHEMA)
    for group in groups():
        template = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        validate.validate(template | {"metadata": {**template["metadata"], "name": "one"}}, "1.33", strict=True)


def test_all_there_is_is_used() -> None:
    files = {path for path in KUBERNETES.rglob("*") if path.is_file()}
    used = {KUBERNETES / "prometheus-adapter.yaml"}
    for path in KUBERNETES.rglob("kustomization.yaml"):
        (said,) = objects_in(path)
        named = [*said.get("resources", ()), *(patch["path"] for patch in said.get("patches", ()))]
        named += [name for one in said.get("configMapGenerator", ()) for name in one["files"]]
        used |= {path, *(path.parent / name for name in named if (path.parent / name).is_file())}
    assert files == used


@pytest.mark.parametrize("place", PLACES)
def test_a_pod_has_its_grace_and_a_moment_to_be_forgotten_in_before(place: str) -> None:
    (container,) = pod(place)["containers"]
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = float(environment(place)[f"{ENVIRONMENT_PREFIX}SERVER__SHUTDOWN_GRACE_SECONDS"])
    given = pod(place)["terminationGracePeriodSeconds"]
    assert before > 0
    assert given >= before + grace + 5
    if place == "overlays/spot":
        assert given <= SPOT_SECONDS
        wanted = pod(place)["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert len(wanted) == 4
        assert pod(place)["tolerations"]


@pytest.mark.parametrize("place", PLACES[1:])
def test_servers_that_share_have_what_they_need_to(place: str) -> None:
    said = {
        name.removeprefix(ENVIRONMENT_PREFIX): value if isinstance(value, str) else "a secret"
        for name, value in environment(place).items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }
    sections: dict[str, dict[str, str]] = {}
    for name, value in said.items():
        section, _, key = name.lower().partition("__")
        sections.setdefault(section, {})[key] = value
    settings = Settings.model_validate(sections)
    assert settings.redis.url is not None
    assert settings.redis.url.get_secret_value().partition("@")[2] == "redis:6379/0"
    assert None not in (settings.auth.pepper, settings.delivery.url_key)
    assert (settings.s3.bucket, {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= environment(place).keys()) == (
        "sdxl-gateway",
        True,
    )
    assert of(place, "Service")["redis"]["spec"]["ports"][0]["port"] == 6379
    data = of(place, "StatefulSet").get("sdxl-gateway", {}).get("spec", {}).get("volumeClaimTemplates", ())
    for claim in data:
        if claim["metadata"]["name"] == "data":
            room = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 2**30
            assert settings.s3.checkpoint_bytes < room


def test_a_password_is_known_before_the_address_it_stands_in() -> None:
    ((patch),) = objects_in(KUBERNETES / "components" / "redis" / "servers.yaml")
    names = [one["name"] for one in patch["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert names.index("REDIS_PASSWORD") < names.index(f"{ENVIRONMENT_PREFIX}REDIS__URL")


@pytest.mark.parametrize("place", PLACES)
def test_what_selects_selects_something(place: str) -> None:
    templates = [one["spec"]["template"] for one in BUILT[place] if one["kind"] in ("StatefulSet", "Deployment")]
    templates += [group["template"] for group in groups()] if place == "overlays/cluster" else []
    names = {template["metadata"]["labels"]["app.kubernetes.io/name"] for template in templates}
    selected = [one["spec"]["selector"] for one in of(place, "Service").values()]
    selected += [one["spec"]["selector"]["matchLabels"] for one in of(place, "PodDisruptionBudget").values()]
    selected += [one["spec"]["podSelector"]["matchLabels"] for one in of(place, "NetworkPolicy").values()]
    assert {one["app.kubernetes.io/name"] for one in selected} == names, "a policy for each, too"
    assert all(one.keys() == {"app.kubernetes.io/name"} for one in selected)


@pytest.mark.parametrize("place", PLACES[1:])
def test_redis_is_the_servers_alone(place: str) -> None:
    policy = of(place, "NetworkPolicy")["redis"]["spec"]
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "sdxl-gateway"}}}]
    assert (policy["policyTypes"], "egress" in policy) == (["Ingress", "Egress"], False)


def test_rays_ports_are_its_nodes_alone_and_ask_for_a_token() -> None:
    policies = of("overlays/cluster", "NetworkPolicy")
    names = ["sdxl-gateway", "sdxl-gateway-engines"]
    nodes = {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": names}]}
    within, operator = policies["sdxl-gateway-engines"]["spec"]["ingress"]
    assert within == {"from": [{"podSelector": nodes}]}
    assert [port["port"] for port in operator["ports"]] == [8265]
    open_to_all = [rule for rule in policies["sdxl-gateway"]["spec"]["ingress"] if "ports" not in rule]
    assert open_to_all == [{"from": [{"podSelector": nodes}]}]
    secret = pool()["rayClusterConfig"]["authOptions"]
    told = environment("overlays/cluster")
    assert (secret["mode"], told["RAY_AUTH_MODE"]) == ("token", "token")
    assert told["RAY_AUTH_TOKEN"]["secretKeyRef"] == {"name": secret["secretName"], "key": "auth_token"}


def test_gateways_and_engines_of_a_pool_mean_the_same(tmp_path: Path) -> None:
    text = of("overlays/cluster", "ConfigMap")["sdxl-gateway"]["data"]["config.toml"]
    (tmp_path / "config.toml").write_text(text, "utf-8")
    settings = load_settings(tmp_path / "config.toml")
    (application,) = yaml.safe_load(pool()["serveConfigV2"])["applications"]
    module, _, name = application["import_path"].partition(":")
    assert (module, name) == ("sdxl_gateway.backends.ray", "app")
    told = (Path(__file__).parents[2] / "src" / Path(*module.split("."), "__init__.py")).read_text("utf-8")
    assert f"def {name}(" in told
    assert f'args["{next(iter(application["args"]))}"]' in told
    (container,) = pod("overlays/cluster")["containers"]
    (command,) = container["args"]
    assert f"--config {application['args']['config']}" in command
    assert "-engines-head-svc:6379" in command, "as KubeRay calls the head of that pool"
    (workers,) = pool()["rayClusterConfig"]["workerGroupSpecs"]
    assert (settings.cluster.kind, settings.cluster.gpus) == ("ray", 1)
    assert (workers["minReplicas"], workers["maxReplicas"]) == (
        settings.cluster.replicas,
        settings.cluster.max_replicas,
    )
    for template in (*(group["template"]["spec"] for group in groups()), pod("overlays/cluster")):
        (one,) = template["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in one["volumeMounts"]}
        volumes = {volume["name"] for volume in template["volumes"]}
        assert mounts.keys() <= volumes
        assert application["args"]["config"] == f"{mounts['settings']}/config.toml"
        if "models" in mounts:
            assert mounts["models"] == str(settings.checkpoint_folder.directory)
    head, *others = groups()
    images = {one["template"]["spec"]["containers"][0]["image"] for one in (head, *others)}
    assert images == {container["image"]}, "Ray wants the same version everywhere"


def test_serve_takes_the_pools_application() -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="needs the extra: pip install 'sdxl-gateway[cluster]'")
    schema.ServeDeploySchema.model_validate(yaml.safe_load(pool()["serveConfigV2"]))


def test_the_adapter_gives_the_metric_that_is_scaled_by() -> None:
    (rule,) = objects_in(KUBERNETES / "prometheus-adapter.yaml")[0]["rules"]["custom"]
    for place in PLACES[:3]:
        (scaler,) = of(place, "HorizontalPodAutoscaler").values()
        wanted = {metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]}
        assert wanted == {rule["seriesQuery"].partition("{")[0]}
        assert wanted <= series().keys()
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == ("StatefulSet", servers(place)["metadata"]["name"])
