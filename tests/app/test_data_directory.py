"""One server has a data directory; what paints beside it goes on and leaves its files alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway import cli
from sdxl_gateway.app import build_app, open_gateway
from sdxl_gateway.backends.fake_engine import open_fake_engine
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.catalog.lora_folder.sweep import CopySweeper
from sdxl_gateway.config import EngineProcess, Limits, Loras, Settings
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.storage.directory import DirectoryInUse, sole_server

# Building the application sets up the logs of the whole process, which other tests share.
pytestmark = pytest.mark.usefixtures("logs_as_they_were")


def local(engine: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
    return LocalBackend(open_fake_engine, queue_size=limits.queue_size, listener=listener)


def settings_in(folder: Path) -> Settings:
    return Settings(data_directory=folder / "data", loras=Loras(directory=folder, watch=False))


def outdated_copy(folder: Path) -> Path:
    """A stored LoRA that the next pruning takes away."""
    copy = folder / "data" / "adapters" / f"{'ab' * 32}.safetensors"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(b"old")
    os.utime(copy, (0, 0))
    return copy


@pytest.mark.parametrize("in_the_way", ["data", "data/images"])
def test_serve_says_what_is_in_the_way_of_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_the_way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(in_the_way).parent.mkdir(exist_ok=True)
    Path(in_the_way).write_bytes(b"")
    refused = CliRunner().invoke(cli.app, ["serve", "--port", "0"])
    assert refused.exit_code == 2
    assert f"{tmp_path / in_the_way} cannot be used: a file of that name is in the way." in refused.output
    assert "Traceback" not in refused.output


async def test_a_second_server_does_not_start_and_the_first_goes_on(tmp_path: Path) -> None:
    first, second = (build_app(settings_in(tmp_path), local) for _ in range(2))
    async with first.router.lifespan_context(first):
        kept = outdated_copy(tmp_path)
        with pytest.raises(DirectoryInUse, match=str(os.getpid())):
            async with second.router.lifespan_context(second):
                pytest.fail("two servers on one data directory")
        assert kept.exists()
    async with second.router.lifespan_context(second):
        assert not kept.exists()


async def test_a_gateway_beside_a_server_runs_and_prunes_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with sole_server(settings.data_directory):
        kept = outdated_copy(tmp_path)
        half_written = settings.data_directory / "images" / ".abc.partial"
        half_written.parent.mkdir()
        half_written.write_bytes(b"ha")
        async with open_gateway(settings, local):
            assert kept.exists()
            assert half_written.exists()
    async with open_gateway(settings, local):
        assert not kept.exists()


async def test_a_server_may_start_beside_a_gateway(tmp_path: Path) -> None:
    async with open_gateway(settings_in(tmp_path), local):
        server = build_app(settings_in(tmp_path), local)
        async with server.router.lifespan_context(server):
            pass


def test_serve_says_whose_the_directory_is_before_it_loads_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sole_server(Path("data")):
        refused = CliRunner().invoke(cli.app, ["serve", "--port", "0"])
        checked = CliRunner().invoke(cli.app, ["check"])
    assert refused.exit_code == 2
    assert f"in use by the server of process {os.getpid()}." in refused.output
    assert checked.exit_code == 0


async def test_only_who_has_the_directory_alone_sweeps_its_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[str] = []

    async def sweeping(_: CopySweeper) -> None:
        swept.append("copies")

    monkeypatch.setattr(CopySweeper, "sweeping", sweeping)
    async with open_gateway(settings_in(tmp_path), local):
        await asyncio.sleep(0)
    assert swept == []
    app = build_app(settings_in(tmp_path), local)
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0)
    assert swept == ["copies"]
