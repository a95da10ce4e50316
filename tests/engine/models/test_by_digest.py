"""An engine reads exactly the files that a recipe means, complete, or none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from sdxl_gateway.catalog.upscalers import open_upscaler
from sdxl_gateway.config import Upscaler
from sdxl_gateway.core.errors import CheckpointProblem, Unavailable
from sdxl_gateway.engine.models.by_digest import ByDigest
from sdxl_gateway.engine.models.upscalers import UPSCALER
from tests.kit.engine import recipe, studio
from tests.kit.upscaler_files import compact, written

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@dataclass(frozen=True)
class Text:
    """A text that is its own digest."""

    digest: str


def opened(path: Path) -> Text:
    return Text(path.read_text())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("a")
    return path


def test_it_is_found_as_it_lies_there_now(file: Path) -> None:
    files = ByDigest([partial(opened, file), partial(opened, file.with_name("absent"))], "thing")
    assert files.read("a", lambda entry: entry.digest * 2) == "aa"
    file.write_text("b")
    assert files.digests == ("b",)
    with pytest.raises(Unavailable, match="The thing of this picture was changed meanwhile; ask again"):
        files.of("a")


@pytest.mark.parametrize("fails", [True, False])
def test_one_that_changes_while_it_is_read_is_not_had(file: Path, fails: bool) -> None:
    def read(entry: Text) -> str:
        file.write_text("b")
        if fails:
            raise CheckpointProblem("cut short")
        return entry.digest

    with pytest.raises(Unavailable):
        ByDigest([partial(opened, file)], "thing").read("a", read)


def test_what_fails_for_its_own_reasons_says_them(file: Path) -> None:
    def read(entry: Text) -> str:
        raise CheckpointProblem("odd")

    with pytest.raises(CheckpointProblem, match="odd"):
        ByDigest([partial(opened, file)], "thing").read("a", read)


def test_what_is_on_the_device_is_what_it_was_while_its_file_is_written_over(tmp_path: Path) -> None:
    path = written(compact(4), tmp_path / "net.safetensors")
    section = Upscaler(path=path)
    room = studio(tmp_path, upscalers={"net": section})
    (digest,) = room.engine._pool.loaders[UPSCALER].names
    wanted = recipe(steps=1, upscaler="net", upscaler_digest=digest)
    before = room.paint(wanted)
    with path.open("r+b") as there:
        there.seek(-200, 2)
        there.write(b"\x11" * 200)
    assert room.paint(wanted) == before
    other = recipe(steps=1, upscaler="net", upscaler_digest=open_upscaler("net", section).digest)
    assert room.paint(other) != before
    assert room.paint(wanted) == before
    room.engine.close()
