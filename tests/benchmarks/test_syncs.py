"""The look for waits on a device, in small, where there is none."""

from __future__ import annotations

import pytest

from benchmarks.syncs import main

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_every_part_of_a_picture_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--dtype", "float32", "--samplers", "unipc", "--tasks", "inpaint", "refined"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" waits")[0].rstrip() for line in told] == ["inpaint, unipc", "refined, unipc"]
    assert all("begin 0, step 0, finish 0" in line for line in told)
