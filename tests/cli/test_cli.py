"""The words of the command line: what they load, what they print, and how they refuse."""

from __future__ import annotations

import io
import json
import logging
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from rich.console import Console
from typer.testing import CliRunner

from sdxl_gateway import __version__
from sdxl_gateway.cli import app, asking, generating, manual, pulling, serving
from sdxl_gateway.cli.field_flags import Wish
from sdxl_gateway.cli.generating import Made, ask_for
from sdxl_gateway.config import DEMO_LORAS, DEMO_MODEL, Checkpoint, HouseStyle, Loras, Server, Settings
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import GatewayError, InvalidRequest
from sdxl_gateway.core.events import EngineLost, EngineOpened
from sdxl_gateway.core.picture import Size
from sdxl_gateway.gateway.events import Accepted, Done, Item, Presented, Progressed
from tests.kit import ip_adapters
from tests.kit.admission import lora_file
from tests.kit.api import USAGE
from tests.kit.control_folders import control_folder
from tests.kit.lora_files import file_bytes, write
from tests.kit.sdxl_controls import hollow_file, sdxl_unet, shapes_of

MANUAL = Path(__file__).parents[2] / "config.toml"
HEAVY = ("torch", "diffusers", "transformers", "peft", "starlette", "uvicorn", "pydantic_settings", "huggingface_hub")
COMMANDS = (
    *("", "serve", "check", "config", "pull", "generate", "loras", "loras list", "loras inspect"),
    *("checkpoints", "checkpoints list", "checkpoints inspect"),
)
TINY_SAFETENSORS = b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "

runner = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_device_told_is_the_one_an_engine_opened(capsys: pytest.CaptureFixture[str]) -> None:
    for event in (EngineOpened("0", "cuda:0", "float16", "NVIDIA H200"), EngineLost("0")):
        serving.tell_device(event)
    assert capsys.readouterr().out == "Painting on cuda:0 (NVIDIA H200) in float16.\n"


def test_check_names_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_GATEWAY__ENGINE__DEVICES", "cpu,cpu")
    told = runner.invoke(app, ["check"]).stdout.splitlines()
    assert [line[:17] for line in told[:2]] == ["device       cpu "] * 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command: str) -> None:
    words = [*command.split(), "--help"]
    code = (
        "import sys; from sdxl_gateway.cli import app\n"
        f"try: app({words!r})\nexcept SystemExit as end: assert not end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "Usage" in told
    assert told.strip().endswith("HEAVY []")


def test_the_console_script_and_the_module_are_one() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "sdxl_gateway", "--version"], capture_output=True, text=True, check=True
    )

    assert told.stdout == f"sdxl-gateway {__version__}\n"


def test_check_tells_as_json_what_would_be_served() -> None:
    result = runner.invoke(app, ["check", "--json"])
    found = json.loads(result.stdout)

    folders = {"data_directory", "checkpoint_directory", "lora_directory"}
    listed = {"checkpoints", "controls", "ip_adapters", "loras", "matte", "memory", "problems"}
    assert found.keys() == {"devices"} | folders | listed
    assert found["checkpoints"][0]["name"] == "demo"
    assert Path(found["checkpoints"][0]["path"]).is_dir()
    assert found["problems"] == []
    assert result.exit_code == 0


def test_check_names_the_folders_used(tmp_path: Path) -> None:
    told = runner.invoke(app, ["check"]).stdout.splitlines()
    found = json.loads(runner.invoke(app, ["check", "--json", "--loras", "styles"]).stdout)

    assert told[1:4] == [
        f"data folder  {tmp_path / 'data'}",
        f"checkpoints  {tmp_path / 'checkpoints'}",
        f"lora folder  {tmp_path / 'loras'}",
    ]
    assert (found["data_directory"], found["lora_directory"]) == (str(tmp_path / "data"), str(tmp_path / "styles"))


def test_check_tells_what_lies_in_the_checkpoint_folder() -> None:
    shutil.copytree(DEMO_MODEL, "checkpoints/mine")
    Path("checkpoints/mine.toml").write_text("steps = 0")
    Path("checkpoints/old.ckpt").write_bytes(b"pickled")
    result = runner.invoke(app, ["check", "--json", "--model", "mine"])
    found = json.loads(result.stdout)

    assert [one["name"] for one in found["checkpoints"]] == ["demo", "mine"]
    assert any(told.startswith("Checkpoint mine: mine.toml: 'steps'") for told in found["problems"])
    assert any(told.startswith("Checkpoint old: ") and "never opened" in told for told in found["problems"])
    assert len(found["problems"]) == 2
    assert result.exit_code == 1


def test_the_demo_models_loras_are_there_in_an_empty_folder() -> None:
    Path("s.toml").write_text('default_model = "demo+sunset"\n', "utf-8")
    found = json.loads(runner.invoke(app, ["check", "--json", "--config", "s.toml"]).stdout)
    listed = runner.invoke(app, ["loras", "list"]).stdout

    assert [Path(lora["file"]) for lora in found["loras"]] == sorted(DEMO_LORAS.iterdir())
    assert found["problems"] == []
    assert all(name in listed for name in ("outline", "stripes", "sunset"))


def test_config_prints_the_manual() -> None:
    told = runner.invoke(app, ["config"])

    assert told.stdout_bytes == MANUAL.read_bytes()
    assert manual.manual((Path("packed.toml"), MANUAL)) == MANUAL.read_bytes()
    Path("packed.toml").write_bytes(b"packed")
    assert manual.manual((Path("packed.toml"), MANUAL)) == b"packed"


def test_check_tells_which_checkpoints_a_control_fits(tmp_path: Path) -> None:
    with torch.device("meta"):
        large = ControlNetModel.from_unet(sdxl_unet(), load_weights_from_unet=False)
    Path("config.toml").write_text(
        f"""
        [controls.canny]
        path = '{control_folder(tmp_path / "canny")}'
        [controls.large]
        path = '{hollow_file(tmp_path / "large.safetensors", shapes_of(large))}'
        [controls.broken]
        path = "none"
        """
    )
    told = runner.invoke(app, ["check", "--json"])
    found = json.loads(told.stdout)
    assert {one["name"]: one["fits"] for one in found["controls"]} == {"canny": ["demo"], "large": []}
    assert found["problems"][0] == "controls.large: it fits none of the checkpoints."
    assert found["problems"][1].startswith("controls.broken: 'none' is neither a folder")
    assert "control      canny  " in runner.invoke(app, ["check"]).stdout


def test_check_tells_what_fits_a_device_and_why() -> None:
    lines = runner.invoke(app, ["check", "--vram", "8GiB"]).stdout.splitlines()
    found = json.loads(runner.invoke(app, ["check", "--json", "--vram", "8192 MiB"]).stdout)["memory"]

    assert "memory       fast, native weights, for demo on 8.00 GiB" in lines
    assert any(line.endswith("weights that stay on the device") for line in lines)
    assert (found["total_bytes"], found["mode"], found["fits"]) == (8 * 2**30, "fast", True)
    assert found["warm_loras"] > 0


def test_check_says_what_does_not_fit_and_what_would() -> None:
    Path("s.toml").write_text('[memory]\nmode = "fast"\n[engine]\ndtype = "float32"\n', "utf-8")
    result = runner.invoke(app, ["check", "--config", "s.toml", "--vram", "4"])
    none = runner.invoke(app, ["check", "--json", "--vram", "600MB"])

    assert result.exit_code == none.exit_code == 1
    assert "memory.mode: 'demo' does not fit in 4.00 GiB as 'fast'; 'balanced' would." in result.stdout
    assert json.loads(none.stdout)["problems"] == [
        "memory.mode: 'demo' does not fit in 0.56 GiB as 'low', nor in any other mode."
    ]


def test_check_says_which_device_does_not_multiply_in_8_bits() -> None:
    Path("s.toml").write_text('engine.device = "cpu"\nmemory.products = "fp8"\n', "utf-8")
    here = runner.invoke(app, ["check", "--config", "s.toml"])
    elsewhere = runner.invoke(app, ["check", "--config", "s.toml", "--vram", "12GiB"])
    assert here.exit_code == 1
    assert "PROBLEM      memory.products is 'fp8'" in here.stdout
    assert (elsewhere.exit_code, "native weights, fp8 products" in elsewhere.stdout) == (0, True)


def test_check_refuses_a_size_that_is_none() -> None:
    assert runner.invoke(app, ["check", "--vram", "much"]).exit_code == 2


def test_check_never_loads_torch() -> None:
    code = (
        "import sys; from sdxl_gateway.cli import app\ntry: app(['check'])\nexcept SystemExit: pass\n"
        "print('TORCH', 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert told.strip().endswith("TORCH False")


def test_check_names_every_problem_and_fails() -> None:
    Path("loras").mkdir()
    Path("loras/broken.safetensors").write_bytes(TINY_SAFETENSORS)
    Path("s.toml").write_text('[checkpoints.lost]\npath = "not/there"\n', "utf-8")

    result = runner.invoke(app, ["check", "--json", "--config", "s.toml"])
    problems = json.loads(result.stdout)["problems"]

    assert result.exit_code == 1
    assert any("not/there" in problem for problem in problems)
    assert any("broken" in problem for problem in problems)


@pytest.mark.parametrize("encoder", ["", "/image_encoder"])
def test_check_tells_of_the_ip_adapter(tmp_path: Path, encoder: str) -> None:
    files = ip_adapters.section(tmp_path / "ip", plus=True)
    given = f'[ip_adapter]\npath = "{files.path}"\nimage_encoder = "{tmp_path}/ip{encoder}"\n'
    Path("s.toml").write_text(given, "utf-8")
    found = json.loads(runner.invoke(app, ["check", "--json", "--config", "s.toml"]).stdout)
    told = runner.invoke(app, ["check", "--config", "s.toml"]).stdout

    assert [(one["name"], one["plus"]) for one in found["ip_adapters"]] == ([("adapter", True)] if encoder else [])
    assert [problem.partition(":")[0] for problem in found["problems"]] == (
        [] if encoder else ["ip_adapter.image_encoder"]
    )
    assert ("IP-Adapter   adapter" in told) is bool(encoder)


def test_check_tells_the_matte_model_or_what_is_wrong_with_it() -> None:
    Path("s.toml").write_text('[matting]\npath = "demo"\n', "utf-8")
    found = json.loads(runner.invoke(app, ["check", "--json", "--config", "s.toml"]).stdout)
    assert (found["matte"]["path"], found["matte"]["kind"], found["problems"]) == ("demo", "u2net", [])
    assert "matte        demo  u2net" in runner.invoke(app, ["check", "--config", "s.toml"]).stdout
    Path("words.onnx").write_text("no model", "utf-8")
    Path("s.toml").write_text('[matting]\npath = "words.onnx"\n', "utf-8")
    result = runner.invoke(app, ["check", "--config", "s.toml"])
    assert result.exit_code == 1
    assert "PROBLEM      matting.path: words.onnx cannot be used as a matte model" in result.stdout


def test_check_names_what_the_settings_name_and_is_not_there() -> None:
    Path("s.toml").write_text(
        'default_model = "nobody"\n[models.style]\nloras = [{ name = "lost" }]\n[aliases]\n"x-*" = "neither"\n', "utf-8"
    )

    result = runner.invoke(app, ["check", "--json", "--config", "s.toml"])
    problems = json.loads(result.stdout)["problems"]

    assert [problem.partition(":")[0] for problem in problems] == ["default_model", "models.style", "aliases.x-*"]
    assert "lost" in problems[1]
    assert result.exit_code == 1


def test_check_tells_wrong_settings_as_a_problem() -> None:
    Path("s.toml").write_text("[server]\nprot = 1\n", "utf-8")

    result = runner.invoke(app, ["check", "--json", "--config", "s.toml"])

    assert result.exit_code == 1
    assert "did you mean 'port'?" in json.loads(result.stdout)["problems"][0]


def test_serve_refuses_wrong_settings_in_a_sentence() -> None:
    Path("s.toml").write_text("[server]\nport = -1\n", "utf-8")

    result = runner.invoke(app, ["serve", "--config", "s.toml"])

    assert result.exit_code == 2
    assert "server.port (s.toml)" in result.output
    assert "Traceback" not in result.output


def test_a_model_may_be_a_name_a_folder_or_a_hub_id(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    settings = Settings(models={"storybook": HouseStyle()})

    assert asking.with_model(settings, "demo") == settings
    assert asking.with_model(settings, "storybook").default_model == "storybook"
    assert asking.with_model(settings, "demo+ink:0.5").checkpoints == settings.checkpoints
    by_folder = asking.with_model(settings, str(folder))
    assert (by_folder.default_model, by_folder.checkpoints["my-model"].path) == ("my-model", str(folder))
    by_id = asking.with_model(settings, "org/name")
    assert (by_id.default_model, by_id.checkpoints["org/name"].path) == ("org/name", "org/name")
    assert "demo" in by_id.checkpoints


def test_flags_reach_the_settings() -> None:
    said = {"server": {"host": "::1", "port": None}, "cluster": {"kind": "ray", "address": None}}
    settings = asking.settings_for(None, Path("elsewhere"), None, said)

    assert (settings.cluster.kind, settings.cluster.address) == ("ray", "")
    assert (settings.loras.directory, settings.server.host, settings.server.port) == (Path("elsewhere"), "::1", 8000)


def test_only_a_hub_id_that_is_not_there_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(pulling, "pull", lambda hub_id, half: fetched.append(hub_id))
    settings = Settings(checkpoints={"demo": Checkpoint(path="demo"), "org/name": Checkpoint(path="org/name")})

    for model in ("demo", "org/name", "a-lora"):
        pulling.pull_if_missing(settings, model)

    assert fetched == ["org/name"]


def test_pull_says_plainly_that_the_hub_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    result = runner.invoke(app, ["pull", "org/name", "--full"])

    assert result.exit_code == 1
    assert "cannot be reached" in result.output
    assert "Traceback" not in result.output


def test_pull_asks_for_no_pickles_and_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: dict[str, list[str]] = {}

    def download(_: str, **patterns: list[str]) -> str:
        asked.update(patterns)
        return "/fetched"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    result = runner.invoke(app, ["pull", "org/name", "--full"])

    assert "org/name lies in /fetched" in result.output
    assert {Path(pattern).suffix for pattern in asked["allow_patterns"]} == {".json", ".txt", ".safetensors"}


def test_pull_refuses_what_is_no_hub_id() -> None:
    assert runner.invoke(app, ["pull", "just-a-name"]).exit_code == 2


@pytest.mark.parametrize("command", [["check"], ["loras", "list"]])
def test_what_fits_no_checkpoint_and_what_is_never_opened_are_told(command: list[str]) -> None:
    write(Path("loras/odd.safetensors"), file_bytes({"lora_unet_x.a1.weight": (4, 4)}))
    write(Path("loras/old.pt"), b"a pickle")
    write(Path("loras/ink.SAFETENSORS"), lora_file("ink"))
    told = " ".join(runner.invoke(app, command).output.split())
    assert "odd: This file is of the kind GLoRA, which is not supported." in told
    assert "old: Files that end in .pt are never opened" in told
    assert "ink: " not in told
    assert "ink" in told


def test_loras_list_names_what_cannot_be_used() -> None:
    Path("loras").mkdir()
    Path("loras/broken.safetensors").write_bytes(TINY_SAFETENSORS)

    result = runner.invoke(app, ["loras", "list"])

    assert result.exit_code == 0
    assert "broken: " in result.output


def test_loras_inspect_refuses_a_broken_file_in_a_sentence() -> None:
    Path("broken.safetensors").write_bytes(TINY_SAFETENSORS)

    result = runner.invoke(app, ["loras", "inspect", "broken.safetensors"])

    assert result.exit_code == 1
    assert result.output.startswith("broken.safetensors: ")


@pytest.mark.parametrize("default", ["b", "B", "b+sunset", "nick", "NICK+sunset:0.5", "style", "sunset", "a"])
def test_loras_inspect_means_the_default_models_checkpoint(default: str) -> None:
    write(Path("loras/sunset.safetensors"), lora_file("sunset"))
    Path("s.toml").write_text(
        f'default_model = "{default}"\n'
        '[checkpoints.a]\npath = "demo"\n[checkpoints.b]\npath = "demo"\n'
        '[aliases]\nnick = "b"\n[models.style]\ncheckpoint = "nick"\n',
        "utf-8",
    )

    told = runner.invoke(app, ["loras", "inspect", "loras/sunset.safetensors", "--config", "s.toml"])

    assert told.exit_code == 0, told.output
    assert told.output.startswith(f"sunset.safetensors on '{'a' if default in ('a', 'sunset') else 'b'}'\n")


@pytest.mark.parametrize("default", ["nope", "demo+nope"])
def test_loras_inspect_tells_of_a_default_model_that_means_nothing(default: str) -> None:
    write(Path("ink.safetensors"), lora_file("ink"))
    Path("s.toml").write_text(f'default_model = "{default}"\n', "utf-8")

    told = runner.invoke(app, ["loras", "inspect", "ink.safetensors", "--config", "s.toml"])

    assert told.exit_code == 2
    assert told.output.startswith("default_model: ")


def test_convert_writes_the_file_whole() -> None:
    write(Path("ink.safetensors"), lora_file("ink"))

    told = runner.invoke(app, ["loras", "convert", "ink.safetensors", "-o", "new.safetensors"])

    assert told.exit_code == 0, told.output
    assert "lora_A" in Path("new.safetensors").read_bytes().decode("latin-1")
    assert sorted(path.name for path in Path().iterdir()) == ["ink.safetensors", "new.safetensors"]


def test_convert_leaves_an_existing_file_alone() -> None:
    Path("a.safetensors").write_bytes(TINY_SAFETENSORS)
    Path("b.safetensors").write_bytes(b"mine")

    result = runner.invoke(app, ["loras", "convert", "a.safetensors", "-o", "b.safetensors"])

    assert result.exit_code == 1
    assert Path("b.safetensors").read_bytes() == b"mine"


def test_generate_asks_only_for_what_was_wished() -> None:
    asked = ask_for(Wish("a cat", {"seed": "7"}), Path("cat.jpg"), Settings(default_model="demo+ink"))

    assert asked.ask == Ask(
        Operation.GENERATE, "a cat", model="demo+ink", seed=7, response_format="b64_json", output_format="jpeg"
    )


class FakeGateway:
    """Paints in three steps."""

    ready = True

    def __init__(self, error: GatewayError | None = None) -> None:
        self._error = error

    async def paint(self, ask: Ask, caller: Caller) -> AsyncIterator[Item]:
        yield Accepted("job-1", Size(256, 256), "medium", "png")
        if self._error is not None:
            raise self._error
        for step in (1, 2, 3):
            yield Progressed("job-1", 0, step, 3)
        yield Presented(0, b"pixels", None, 7, {})
        yield Done(USAGE, ("mind",))


def offer(monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway) -> None:
    @asynccontextmanager
    async def opened(_: Settings) -> AsyncIterator[FakeGateway]:
        yield gateway

    monkeypatch.setattr(generating, "open_gateway", opened)
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", root.level)


@pytest.mark.parametrize("looked_at", [True, False])
async def test_generate_shows_its_steps_to_whoever_looks_on(monkeypatch: pytest.MonkeyPatch, looked_at: bool) -> None:
    offer(monkeypatch, FakeGateway())
    told = io.StringIO()
    console = Console(file=told, force_terminal=looked_at, width=100)

    made = await generating._paint(Settings(), Ask(Operation.GENERATE, "a cat"), console)

    assert made == Made(b"pixels", ("mind",))
    assert ("Painting" in told.getvalue() and "3/3" in told.getvalue()) is looked_at
    assert looked_at or told.getvalue() == ""


def test_generate_writes_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, FakeGateway())

    result = runner.invoke(app, ["generate", "a cat"])

    assert (result.exit_code, result.stdout) == (0, "Wrote picture.png.\n")
    assert result.stderr == "mind\n"
    assert Path("picture.png").read_bytes() == b"pixels"


@pytest.mark.parametrize("words", [["--steps", "0"], ["--size", "5x5"], []])
def test_generate_tells_a_refusal_in_a_sentence(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    offer(monkeypatch, FakeGateway(InvalidRequest("This cannot be painted.")))

    result = runner.invoke(app, ["generate", "a cat", *words])

    assert result.exit_code == 1
    assert result.output.startswith("Invalid" if words else "This cannot be painted.")
    assert not Path("picture.png").exists()


def test_generate_refuses_a_file_name_it_cannot_write() -> None:
    assert runner.invoke(app, ["generate", "a cat", "-o", "cat.bmp"]).exit_code == 2


def test_port_zero_becomes_a_free_port() -> None:
    asked = Settings(server=Server(port=0))
    settings = serving._listening_at(serving._free_port(asked), asked)

    with socket.socket() as taken:
        taken.bind((settings.server.host, settings.server.port))
    assert settings.server.port > 0
    assert serving._listening_at(1, Settings(server=Server(port=2))).server.port == 2


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8000"), ("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000")],
)
def test_the_printed_address_can_be_opened_on_this_machine(host: str, url: str) -> None:
    assert serving.local_url(Settings(server=Server(host=host), loras=Loras())) == url


def test_the_ready_line_comes_when_readyz_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([503, 503, 200])

    class Readiness(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(answers))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(serving, "_POLL_SECONDS", 0.001)
    with HTTPServer(("127.0.0.1", 0), Readiness) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings = Settings(server=Server(port=server.server_port))
        told = io.StringIO()
        monkeypatch.setattr(sys, "stdout", told)
        serving._announce(settings, threading.Event())
        server.shutdown()

    assert next(answers, None) is None
    assert f"curl http://127.0.0.1:{settings.server.port}/v1/images/generations" in told.getvalue()
    assert f"LoRAs in {Path('loras').absolute()} and data in {Path('data').absolute()}" in told.getvalue()
