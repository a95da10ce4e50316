"""The dashboard and the alert rules ask for metrics and labels that there are, and the rules fire as they promise."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.series import series

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "sdxl-gateway.json"
FROM_PROMETHEUS = {"instance", "job"}
PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool comes with Debian's package prometheus"
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def questions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [*(rule["expr"] for rule in rules()), *(target["expr"] for panel in panels for target in panel["targets"])]


@pytest.mark.parametrize("question", questions())
def test_each_question_is_about_what_there_is(question: str) -> None:
    known = series()
    asked = re.findall(r"\b(sdxl_gateway_\w+)(?:\{([^}]*)\})?", question)
    assert asked or question.startswith("up{")
    common = FROM_PROMETHEUS.union(*(known[name] for name, _ in asked))
    for name, matchers in asked:
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= known[name] | FROM_PROMETHEUS, name
    for by in re.findall(r"\bby \(([^)]*)\)", question):
        assert set(re.findall(r"\w+", by)) <= common, by


def test_what_an_alert_says_of_labels_is_there_to_be_said() -> None:
    known = series()
    for rule in rules():
        names = re.findall(r"\bsdxl_gateway_\w+", rule["expr"])
        labels = FROM_PROMETHEUS.union(*(known[name] for name in names))
        kept = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
        left = labels if not kept else set(re.findall(r"\w+", kept[0]))
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= left, rule["alert"]


def test_each_panel_has_its_own_place_and_a_legend() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in board["panels"]})
    assert all(target["legendFormat"] for panel in board["panels"] for target in panel["targets"])


@PROMTOOL
def test_rules_fire_when_they_should_and_not_before() -> None:
    told = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"], cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


@PROMTOOL
@pytest.mark.parametrize("name", ["prometheus.yml", "shared.yml"])
def test_prometheus_takes_its_configuration(name: str) -> None:
    told = subprocess.run(
        ["promtool", "check", "config", name], cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
