"""Measures a checkpoint of SDXL's real size, random weights, on a GPU: `make bench-gpu`. Says so where there is none.

Times do not depend on what the weights say, so nothing has to be fetched; the 7 GB are written to a temporary folder,
or to `--work`, where they and all compiled code are found by another run. Ten minutes tell what is wanted most: a
section is begun while some of `--seconds` are left, each has a process of its own and its own most seconds, and each
row is on the disk before the next is measured, in a file named after the card. `--resume` leaves out what is there
whole, `--only` takes some sections. `--small` runs all of them on a CPU with the demo model, to see that they run. What
a full card does is a benchmark of its own: `python -m benchmarks.full_card`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import rig as rigs
from benchmarks.beside import measured
from benchmarks.figures import RESULTS, Row, seconds_row, taken
from benchmarks.machine import describe_machine
from benchmarks.record import WHOLE, Record
from benchmarks.rig import Rig
from benchmarks.sections import STAGES, Stage
from tools.full_size_model import write_full_size_model

SECONDS = 570.0
LEAST_SECONDS = 15.0
"""Nothing is begun when less is left."""
WRITING_SECONDS = 200.0
CARD = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"


def take(
    rig: Rig, stages: Sequence[Stage], record: Record, context: BaseContext, until: float, skip: Sequence[str] = ()
) -> list[str]:
    """Measures what is not to be skipped, until that monotonic time; the names of what was not begun by then."""
    left: list[str] = []
    for stage in stages:
        works = {name: partial(rows, rig) for name, rows in stage.sections.items() if name not in skip}
        seconds = min(stage.seconds, until - time.monotonic())
        if works and seconds < LEAST_SECONDS:
            left += works
        elif works:
            _take_beside(works, record, context, seconds)
    return left


def _take_beside(
    works: Mapping[str, partial[Iterator[Row]]], record: Record, context: BaseContext, seconds: float
) -> None:
    for name in works:
        record.begin(name)
    print(f"-- {', '.join(works)}", flush=True)
    start = time.monotonic()
    for name, found in measured(context, works, seconds):
        if isinstance(found, Row):
            taken([found])
            record.add(name, found)
        else:
            record.end(name, found)
            print(f"-- {name}: {found} after {time.monotonic() - start:.0f} s", flush=True)


def children(card: str) -> BaseContext:
    """Of this process, with all it imported; where an import touched CUDA they could not, and import for themselves."""
    forked = get_context("fork")
    told = [found for _, found in measured(forked, {"CUDA": _initialised}, 60.0)] if card else [WHOLE]
    return forked if told == [WHOLE] else get_context("spawn")


def _initialised() -> Iterator[Row]:
    # torch leaves it untyped.
    torch.cuda.init()  # type: ignore[no-untyped-call]
    return iter(())


def _written(folder: Path) -> Iterator[Row]:
    """Under its name once it is whole."""
    start, partly = time.perf_counter(), folder.with_suffix(".partly")
    write_full_size_model(partly, "float16")
    partly.rename(folder)
    yield seconds_row("the checkpoint written, seconds", None, [time.perf_counter() - start])


def _rig(small: bool, work: Path, context: BaseContext) -> Rig:
    data, folder = work / "data", work / "sdxl"
    data.mkdir(parents=True, exist_ok=True)
    if small:
        return rigs.small(data)
    if not folder.exists():
        found = measured(context, {"": partial(_written, folder)}, WRITING_SECONDS)
        taken(row for _, row in found if isinstance(row, Row))
    return rigs.whole(folder, data)


def _names() -> list[str]:
    return [name for stage in STAGES for name in stage.sections]


def _skipped(only: Sequence[str], resume: bool, record: Record) -> list[str]:
    return [name for name in _names() if (only and name not in only) or (resume and record.has(name))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], choices=_names(), metavar="SECTION", help=", ".join(_names()))
    parser.add_argument("--resume", action="store_true", help="leave out sections that the card's file has whole")
    parser.add_argument("--work", type=Path, help="where checkpoint and compiled code are kept for another run")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the most that all of it may take")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the card's file")
    parser.add_argument("--small", action="store_true", help="on a CPU with the demo model; the file lies in `--work`")
    asked = parser.parse_args(arguments)
    until = time.monotonic() + asked.seconds
    card = "" if asked.small else subprocess.check_output([sys.executable, "-c", CARD], text=True).strip()
    if not card and not asked.small:
        print("bench-gpu: torch finds no CUDA device here, so nothing was measured.")
        return
    with TemporaryDirectory() as temporary:
        work, context = asked.work or Path(temporary), children(card)
        rig = _rig(asked.small, work, context)
        machine = describe_machine(rig.place.threads or torch.get_num_threads(), rig.place.device)
        record = Record.of_card(card or "cpu", machine, work if asked.small else asked.results)
        left = take(rig, STAGES, record, context, until, _skipped(asked.only, asked.resume, record))
    print(f"not begun: {', '.join(left)}" if left else "all begun", flush=True)


if __name__ == "__main__":
    main()
