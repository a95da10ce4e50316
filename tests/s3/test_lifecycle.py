"""The store takes the rules as they are printed; each outlives what a server deletes itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app
from sdxl_gateway.config import S3, Delivery, Retention, Settings
from sdxl_gateway.s3.lifecycle import lifecycle

CONFIG = """
[s3]
bucket = "mine"
prefix = "team/gw"
"""


def days(settings: Settings) -> dict[str, int]:
    rules = lifecycle(settings)["Rules"]
    return {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule}


def test_each_rule_is_a_day_later_than_the_server() -> None:
    assert days(Settings()) == {"images/": 8, "files/": 31, "reviews/": 31, "results/": 2}
    short = Settings(delivery=Delivery(keep_seconds=3600), retention=Retention(prompts_days=0.5), s3=S3(prefix="a/b"))
    assert days(short) == {"a/b/images/": 2, "a/b/files/": 31, "a/b/reviews/": 2, "a/b/results/": 2}
    kept = Retention(results_days=3, inputs_days=None, prompts_days=None)
    assert days(Settings(retention=kept)) == {"images/": 4, "results/": 2}


def test_the_store_takes_what_is_printed(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "config.toml").write_text(CONFIG, "utf-8")
    printed = CliRunner().invoke(app, ["s3", "lifecycle", "--config", str(tmp_path / "config.toml")])
    assert printed.exit_code == 0, printed.output
    rules = json.loads(printed.stdout)
    assert rules["Rules"][0]["Filter"] == {"Prefix": "team/gw/"}
    store = request.getfixturevalue("object_store")
    bucket = store.bucket().bucket
    store.client().put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules)
    assert store.client().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules["Rules"]
