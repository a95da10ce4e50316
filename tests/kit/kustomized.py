"""The part of Kustomize that deploy/ uses: resources, components, patches of named lists, generated settings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]


def objects_in(path: Path) -> list[Object]:
    """The objects in one file."""
    return [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one]


def kustomized(folder: Path) -> list[Object]:
    """The objects that `kubectl kustomize` prints for the folder, in another order."""
    said = objects_in(folder / "kustomization.yaml")[0]
    found = [one for place in said.get("resources", ()) for one in _resource(folder / place)]
    found += [_settings(folder, one) for one in said.get("configMapGenerator", ())]
    for place in said.get("components", ()):
        found = _with_component(folder / place, found)
    for one in found:
        if one["kind"] != "Namespace":
            one["metadata"]["namespace"] = said["namespace"]
    return [_tagged(one, {image["name"]: image["newTag"] for image in said.get("images", ())}) for one in found]


def _resource(path: Path) -> list[Object]:
    return kustomized(path) if path.is_dir() else objects_in(path)


def _settings(folder: Path, said: Object) -> Object:
    data = {name: (folder / name).read_text("utf-8") for name in said["files"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": said["name"]}, "data": data}


def _with_component(folder: Path, objects: list[Object]) -> list[Object]:
    said = objects_in(folder / "kustomization.yaml")[0]
    for patch in said["patches"]:
        label, _, value = patch["target"]["labelSelector"].partition("=")
        (change,) = objects_in(folder / patch["path"])
        objects = [
            merged(one, {"spec": change["spec"]}) if one["metadata"].get("labels", {}).get(label) == value else one
            for one in objects
        ]
    return [*objects, *(one for place in said.get("resources", ()) for one in _resource(folder / place))]


def merged(one: Any, change: Any) -> Any:
    """Objects are merged by key, lists of named objects by name; anything else is replaced."""
    if isinstance(one, dict) and isinstance(change, dict):
        return {**one, **{key: merged(one.get(key), value) for key, value in change.items()}}
    if _named(one) and _named(change):
        names = {item["name"]: item for item in one}
        return [*{**names, **{item["name"]: merged(names.get(item["name"]), item) for item in change}}.values()]
    return change


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "name" in one for one in value)


def _tagged(one: Any, tags: dict[str, str]) -> Any:
    if isinstance(one, dict):
        own = {key: _tagged(value, tags) for key, value in one.items()}
        return own | ({"image": f"{own['image']}:{tags[own['image']]}"} if own.get("image") in tags else {})
    return [_tagged(each, tags) for each in one] if isinstance(one, list) else one


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Sorted for comparison: objects by kind and name, and named lists by name."""
    return sorted((_ordered(one) for one in objects), key=lambda one: (one["kind"], one["metadata"]["name"]))


def _ordered(one: Any) -> Any:
    if isinstance(one, dict):
        return {key: _ordered(value) for key, value in one.items()}
    if _named(one):
        return sorted(map(_ordered, one), key=lambda each: str(each["name"]))
    return [_ordered(each) for each in one] if isinstance(one, list) else one
