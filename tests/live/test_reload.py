"""SIGHUP: what config.toml says now holds for the next request, or nothing does; what runs is not disturbed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from PIL import Image

from tests.kit.live_pictures import png
from tests.kit.loopback import loopback
from tests.kit.servers import Server, server, until

RELOADS = "sdxl_gateway_config_reloads_total"
SUCCESSFUL = "sdxl_gateway_config_last_reload_successful"
SUCCESS_AT = "sdxl_gateway_config_last_reload_success_timestamp_seconds"
GOOD = '[aliases]\nkeeper = "demo+outline:0.5"\n'


@dataclass(frozen=True)
class Told:
    """What the log says from a place on; lines come a moment after what they tell of."""

    server: Server
    start: int

    def line(self, words: str) -> str:
        """The first with these words, to its end."""
        until(lambda: words in self.text, seconds=10)
        return words + self.text.partition(words)[2].partition("\n")[0]

    @property
    def text(self) -> str:
        return self.server.log[self.start :]


@dataclass(frozen=True)
class Configured:
    """A server whose config.toml can be written anew."""

    server: Server

    def reload(self, text: str | None) -> Told:
        """Without a text there is no file any more."""
        before, seen = self._reloads(), len(self.server.log)
        file = self.server.folder / "config.toml"
        file.unlink() if text is None else file.write_text(text, "utf-8")
        self.server.process.send_signal(signal.SIGHUP)
        until(lambda: self._reloads() > before, seconds=30)
        return Told(self.server, seen)

    def _reloads(self) -> float:
        return sum(self.server.metric(f'{RELOADS}{{outcome="{one}"}}') for one in ("success", "failure"))

    def paint(self, model: str = "demo", steps: int = 1, **said: object) -> httpx.Response:
        body = {"model": model, "prompt": "a red circle", "steps": steps, "response_format": "b64_json", **said}
        return loopback.post(f"{self.server.url}/v1/images/generations", json=body, timeout=120)

    def models(self, key: str = "") -> httpx.Response:
        return loopback.get(f"{self.server.url}/v1/models", headers={"authorization": f"Bearer {key}"} if key else {})


@pytest.fixture(scope="module")
def _one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    folder = tmp_path_factory.mktemp("reload")
    (folder / "config.toml").write_text(GOOD, "utf-8")
    with server(folder, server__strict="true") as one:
        yield Configured(one)


@pytest.fixture
def one(_one: Configured) -> Configured:
    """Runs by the good file, whatever the test before wrote."""
    _one.reload(GOOD)
    return _one


def test_new_names_can_be_painted_with_and_old_ones_are_gone(one: Configured) -> None:
    assert one.paint("sketch").status_code == 404
    told = one.reload('[aliases]\nsketch = "demo+outline:0.8"\n[models.storybook]\nloras = [{ name = "sunset" }]\n')
    changed = told.line("the settings were read again; changed: ")
    assert all(key in changed for key in ("aliases.keeper", "aliases.sketch", "models.storybook.loras"))
    assert [one.paint(name).status_code for name in ("sketch", "storybook", "keeper")] == [200, 200, 404]
    assert {"sketch", "storybook"} <= {model["id"] for model in one.models().json()["data"]}
    assert one.server.metric(
        'sdxl_gateway_requests_total{model="storybook",operation="images.generations",status="200"}'
    )


def test_a_running_picture_ends_by_the_settings_it_began_with(one: Configured) -> None:
    steps = "sdxl_gateway_denoise_steps_total"
    with ThreadPoolExecutor(2) as pool:
        before, engine = one.server.metric(steps), one.server.engine_pid()
        running = [pool.submit(one.paint, "keeper", 60, stream=stream) for stream in (False, True)]
        until(lambda: one.server.metric(steps) > before)
        one.reload("[limits]\nmax_prompt_chars = 5\nmax_steps = 2\n")
        assert not any(answer.done() for answer in running)
        assert one.paint().status_code == 400
        whole, stream = (answer.result() for answer in running)
    assert whole.status_code == 200
    assert "event: image_generation.completed" in stream.text
    assert one.server.engine_pid() == engine
    assert one.server.metric(steps) - before >= 120


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[limits]\nmax_step = 3\n", "limits.max_step (config.toml): no such setting; did you mean 'max_steps'?"),
        ("[limits]\nmax_steps = -3\n", "limits.max_steps (config.toml)"),
        ("[limits\n", "config.toml: not valid TOML"),
        ('default_model = "nope"\n', "default_model: "),
        ('[models.late]\nloras = [{ name = "no-such-lora" }]\n', "models.late: The LoRA 'no-such-lora'"),
        ('[models.late]\ncheckpoint = "nowhere"\n', "models.late.checkpoint: "),
        (None, "config.toml: cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing_and_is_told(one: Configured, text: str | None, named: str) -> None:
    since = one.server.metric(SUCCESS_AT)
    told = one.reload(None if text is None else f'{text}[aliases]\nfresh = "demo"\n')
    assert named in told.line("the settings cannot be used and stay as they were: ")
    assert [one.paint(name).status_code for name in ("keeper", "fresh")] == [200, 404]
    assert (one.server.metric(SUCCESSFUL), one.server.metric(SUCCESS_AT)) == (0, since)
    one.reload(GOOD)
    assert one.server.metric(SUCCESSFUL) == 1
    assert one.server.metric(SUCCESS_AT) > since


def test_what_needs_a_restart_is_named_and_the_rest_holds(one: Configured) -> None:
    told = one.reload(
        'data_directory = "elsewhere"\n[engine]\ndtype = "bfloat16"\nmax_lanes = 2\n[limits]\nqueue_size = 9\n'
        '[checkpoints.demo]\npath = "demo"\nsteps = 3\nvae = "other"\n[checkpoints.second]\npath = "demo"\n'
        '[aliases]\nfresh = "demo"\n'
    )
    waiting = told.line("needs a restart: ")
    for key in ("data_directory", "engine.dtype", "engine.max_lanes", "limits.queue_size"):
        assert f"{key}, " in waiting
    assert "checkpoints.demo.vae, " in waiting
    assert "checkpoints.second.path" in waiting
    assert "checkpoints.demo.steps" not in waiting
    assert [one.paint(name).status_code for name in ("fresh", "second")] == [200, 404]


def test_limits_hold_wherever_they_are_looked_at(one: Configured) -> None:
    upload = {"image": png(Image.new("RGB", (256, 256)))}
    said = {"model": "demo", "prompt": "a red circle", "steps": 1}
    edit = loopback.post(f"{one.server.url}/v1/images/edits", data=said, files=upload, timeout=120)
    one.reload("[limits]\nmax_image_bytes = 99\n")
    refused = loopback.post(f"{one.server.url}/v1/images/edits", data=said, files=upload, timeout=120)
    assert (edit.status_code, refused.status_code) == (200, 413)
    one.reload("[limits]\nmax_pixels = 4096\n[server]\nmax_body_bytes = 200\n")
    assert one.paint(size="256x256").status_code == 400
    assert one.paint(user="x" * 200).status_code == 413


def test_keys_can_be_exchanged(one: Configured) -> None:
    assert one.models().status_code == 200
    told = one.reload('[auth]\napi_keys = ["sk-new"]\n')
    assert "sk-new" not in told.line("changed: auth.api_keys")
    assert [one.models(key).status_code for key in ("", "sk-old", "sk-new")] == [401, 401, 200]


def test_operators_read_what_is_in_force_now(one: Configured) -> None:
    one.reload('[auth]\nadmin_keys = ["sk-root"]\n[limits]\nmax_steps = 9\nqueue_size = 9\n')
    answer = loopback.get(f"{one.server.url}/v1/admin/settings", headers={"authorization": "Bearer sk-root"})
    told = {setting["key"]: setting["value"] for setting in answer.json()["data"]}
    assert (told["limits.max_steps"], told["limits.queue_size"]) == (9, 64)
    assert "sk-root" not in answer.text


def test_the_environment_stays_stronger(one: Configured) -> None:
    one.reload("[server]\nstrict = false\n")
    assert one.paint(no_such_field=1).status_code == 400


def test_the_log_can_be_made_quiet_and_loud(one: Configured) -> None:
    seen = len(one.server.log)
    one.reload('[telemetry]\nlog_level = "error"\n')
    one.paint()
    quiet = one.server.log[seen:]
    one.reload(GOOD)
    one.paint()
    assert "answered" not in quiet
    until(lambda: "answered" in one.server.log[seen:], seconds=10)


def test_many_signals_at_once_are_a_few_readings(one: Configured) -> None:
    counted = f'{RELOADS}{{outcome="success"}}'
    before = one.server.metric(counted)
    for _ in range(200):
        one.server.process.send_signal(signal.SIGHUP)
    until(lambda: one.server.metric(counted) > before, seconds=30)
    assert one.paint("keeper").status_code == 200
    assert one.server.metric(SUCCESSFUL) == 1
