# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults while a folder is segmented: signals, a full disk, two processes, files in the way; and many cases."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from .fault import Fault, expect
from .odd_volumes import AFFINE, write_good
from .tiny_inference import ROOT, command_of, environment, good_volume, mask_of, rows_of, segment, weights

__all__ = ["FAULTS", "full_disk", "overflowing", "second_process", "soak", "stopped"]

PART = "runs over a folder"
#: Random times of each signal.
TIMES = 3
#: Cases of a folder that is stopped; each takes about 0.1 s.
CASES = 60
SOAK = 200
#: Cases after which memory may not grow, and by how many kB a case it may: one kB more is 1 MB in a thousand cases.
SETTLED, SLOPE_KB = 50, 40.0
#: Seconds from a signal to the end.
SECONDS = 5.0


def _images(folder: Path, number: int, volume: np.ndarray | None = None) -> Path:
    folder.mkdir()
    for index in range(number):
        volume = good_volume() if volume is None else volume
        nib.save(nib.Nifti1Image(volume, AFFINE), folder / f"{index:03d}.nii.gz")
    return folder


def _start(images: Path, output: Path, log: Path) -> subprocess.Popen[str]:
    with log.open("w", encoding="utf-8") as file:
        return subprocess.Popen(
            command_of(images, output),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=file,
            text=True,
            # A shell lets what it runs in the background ignore SIGINT, this command perhaps.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )


def _done(output: Path) -> int:
    table = output / "cases.csv"
    return table.read_text(encoding="utf-8").count(",done,") if table.is_file() else 0


def _wait_for(process: subprocess.Popen[str], output: Path, number: int) -> None:
    until = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until and _done(output) < number:
        time.sleep(0.01)


def stopped(number: signal.Signals, times: int, cases: int, folder: Path) -> str:
    """Stop a run over a folder at random times until it has ended in its own time, and count what is there.

    Args:
        number: the signal.
        times: runs that are stopped, each after a random number of cases.
        cases: in the folder.
        folder: an empty one.

    Raises:
        UnexpectedError: where a stopped run ends late, with a traceback or without a line, leaves a part of a file or
            loses a case, or the run after them does not do the rest.
    """
    images = _images(folder / "images", cases, np.repeat(good_volume(), 6, axis=2))
    output, draw, slowest, before = folder / "masks", random.Random(int(number)), 0.0, 0
    for index in range(times):
        process = _start(images, output, folder / "log")
        _wait_for(process, output, before + draw.randint(1, cases // times - 2))
        time.sleep(draw.uniform(0, 0.2))
        process.send_signal(number)
        start = time.monotonic()
        status = process.wait(timeout=60)
        slowest = max(slowest, time.monotonic() - start)
        said = (folder / "log").read_text(encoding="utf-8")
        last = said.strip().splitlines()[-1]
        expect(status == 128 + number, f"run {index} ended with {status}: {last}")
        expect(f"stopped by {number.name}: " in said and "Traceback" not in said, f"said {last}")
        found = _check_table(output)
        expect(found >= before, f"{found} cases are done, {before} were before")
        before = found
    expect(slowest < SECONDS, f"took {slowest:.1f} s to end")
    expect(0 < before < cases, f"{before} of {cases} cases done by stopped runs")
    files = [output / f"{row['case']}_seg.nii.gz" for row in rows_of(output) if row["status"] == "done"]
    times_of = {path.name: path.stat().st_mtime_ns for path in files}
    done = segment(images, output)
    expect(done.returncode == 0, f"the last run ended with {done.returncode}: {done.stderr[-200:]}")
    expect(_check_table(output) == cases, "the last run did not do the rest")
    again = [name for name, at in times_of.items() if (output / name).stat().st_mtime_ns != at]
    expect(not again, f"done again: {again}")
    return (
        f"{times} runs ended within {slowest:.1f} s with one line and {before} of {cases} cases done; the next did the "
        f"other {cases - before} alone"
    )


def _check_table(output: Path) -> int:
    """Cases that are done, each with its mask; all masks are whole, and nothing else is left.

    A mask may wait for its row, which the next run notes: a process is stopped between the two.
    """
    names = [row["case"] for row in rows_of(output) if row["status"] == "done"]
    masks = {path.name.removesuffix("_seg.nii.gz") for path in output.glob("*.nii.gz")}
    expect(masks >= set(names) and len(masks) <= len(names) + 2, f"rows {names}, masks {sorted(masks)}")
    for name in masks:
        mask_of(output, name)
    left = sorted(path.name for path in output.glob(".*"))
    expect(not left, f"left behind: {left}")
    return len(names)


def full_disk(folder: Path) -> str:
    """Files may have 2 kB: what a disk that fills up does, without one."""
    images, output = _images(folder / "images", 3), folder / "masks"
    limit = 2000
    done = subprocess.run(
        command_of(images, output),
        cwd=ROOT,
        env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
    )
    last = done.stderr.strip().splitlines()[-1]
    large = {path.name for path in output.rglob("*") if path.is_file() and path.stat().st_size >= limit}
    hidden = {path.name for path in output.glob(".*")}
    expect(done.returncode == 1 and "File too large" in last and "masks/" in last, f"{done.returncode}: {last}")
    expect("Traceback" not in done.stderr, "a traceback")
    expect(not large | hidden, f"left behind: {sorted(large | hidden)}")
    names = [row["case"] for row in rows_of(output) if row["status"] == "done"] if _done(output) else []
    expect(all((output / f"{name}_seg.nii.gz").is_file() for name in names), f"rows without a mask: {names}")
    return last.replace(f"{folder}/", "")[:240]


def second_process(kill: bool, cases: int, folder: Path) -> str:
    """Run a second time into a folder while a first run is in it, and again when that has ended or is killed.

    Args:
        kill: the first run; it ends by itself otherwise.
        cases: in the folder.
        folder: an empty one.

    Raises:
        UnexpectedError: where the second run is not refused in one line, or does not go once the first is gone.
    """
    images, output = _images(folder / "images", cases, np.repeat(good_volume(), 6, axis=2)), folder / "masks"
    process = _start(images, output, folder / "log")
    try:
        _wait_for(process, output, 1)
        process.send_signal(signal.SIGSTOP)  # so that it does not end before the second has begun
        second = segment(images, output)
        process.send_signal(signal.SIGCONT)
        if kill:
            process.kill()
        status = process.wait(timeout=300)
    finally:
        process.kill()
    last = second.stderr.strip().splitlines()[-1].replace(f"{folder}/", "")
    expect(second.returncode == 1 and "another process writes to masks" in last, f"{second.returncode}: {last}")
    expect("Traceback" not in second.stderr, "a traceback")
    expect(status == (-signal.SIGKILL if kill else 0), f"the first run ended with {status}")
    third = segment(images, output)
    expect(third.returncode == 0, f"the third run: {third.stderr[-200:]}")
    expect(_check_table(output) == cases, f"{_done(output)} of {cases} cases are done")
    return f"refused: {last}; goes once the first {'is killed' if kill else 'has ended'}"


def _in_the_way(make: Callable[[Path], tuple[Path, Path, Path]], told: str, folder: Path) -> str:
    images, output, victim = make(folder)
    before = victim.read_bytes()
    done = segment(images, output)
    last = done.stderr.strip().splitlines()[-1].replace(f"{folder}/", "")
    expect(done.returncode == 1 and told in last and "Traceback" not in done.stderr, f"{done.returncode}: {last}")
    expect(victim.read_bytes() == before, f"{victim.name} has been replaced")
    return last


def _mask_is_input(folder: Path) -> tuple[Path, Path, Path]:
    images = _images(folder / "images", 1)
    write_good(images / "000_seg.nii.gz")
    return images, images, images / "000_seg.nii.gz"


def _users_mask(folder: Path) -> tuple[Path, Path, Path]:
    images, output = _images(folder / "images", 1), folder / "masks"
    output.mkdir()
    write_good(output / "000_seg.nii.gz")
    return images, output, output / "000_seg.nii.gz"


def _other_manifest(folder: Path) -> tuple[Path, Path, Path]:
    images, output = _images(folder / "images", 1), folder / "masks"
    output.mkdir()
    (output / "manifest.json").write_text('{"mine": 1}', encoding="utf-8")
    return images, output, output / "manifest.json"


def soak(cases: int, settled: int, folder: Path) -> str:
    """Segment many cases in one process, and look at its memory and files from outside.

    Args:
        cases: copies of the good volume, the last one another volume.
        settled: cases after which memory is measured.
        folder: an empty one.

    Raises:
        UnexpectedError: where memory grows, files stay open, or the last mask is not that of a fresh process.
    """
    images, output = _images(folder / "images", cases - 1), folder / "masks"
    last, alone = images / "last.nii.gz", folder / "alone"
    nib.save(nib.Nifti1Image(good_volume()[::-1].copy(), AFFINE), last)
    process = _start(images, output, folder / "log")
    seen: list[tuple[int, float, int]] = []
    while process.poll() is None:
        done = _done(output)
        if done >= settled and (not seen or done > seen[-1][0]):
            seen.append((done, *_memory_and_files(process.pid)))
        time.sleep(0.01)
    status = process.returncode
    alone.mkdir()
    shutil.copy(last, alone)
    segment(alone, folder / "fresh")
    expect(status == 0 and _check_table(output) == cases, f"status {status}, {_done(output)} of {cases} cases")
    # While a process ends, it gives back what it has.
    during = [(done, kb, files) for done, kb, files in seen if done < cases and files]
    expect(len(during) > (cases - settled) // 4, f"only {len(during)} looks at the process")
    number, memory, files = (np.array(values, dtype=float) for values in zip(*during, strict=True))
    slope = float(np.polyfit(number, memory, 1)[0])
    third = len(files) // 3
    opened = float(files[-third:].min() - files[:third].min())  # a look may fall on a file that is being read
    same = np.array_equal(mask_of(output, "last"), mask_of(folder / "fresh", "last"))
    told = (
        f"memory {memory[0] / 1000:.0f} MB, {slope:+.1f} kB a case over the last {cases - settled}; {opened:+.0f} open "
        f"files; last mask {'identical to' if same else 'not'} that of a fresh process"
    )
    expect(slope < SLOPE_KB and opened <= 0 and same, told)
    return told


def _memory_and_files(process: int) -> tuple[float, int]:
    """KB in memory and open files; zeros once it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024, len(os.listdir(f"/proc/{process}/fd"))
    except OSError:
        return 0.0, 0


def overflowing(cases: int, folder: Path) -> str:
    """Segment with finite weights that are so large that the network's output is no number.

    Args:
        cases: in the folder.
        folder: an empty one.

    Raises:
        UnexpectedError: where a mask is written, or a case is not failed with its file and the reason.
    """
    images, output, huge = _images(folder / "images", cases), folder / "masks", folder / "huge.pt"
    state = torch.load(weights(), weights_only=True)
    torch.save({key: value * 1e30 if value.dim() > 1 else value for key, value in state.items()}, huge)
    done = segment(images, output, ckpt_path=huge)
    last = done.stderr.strip().splitlines()[-1].replace(f"{folder}/", "")
    expect(done.returncode == 1 and "Traceback" not in done.stderr, f"{done.returncode}: {last}")
    told = [f"{row['case']}.nii.gz: the network's output is NaN" in row["reason"] for row in rows_of(output)]
    expect(told == [True] * cases and not list(output.glob("*.nii.gz")), last)
    return last[:240]


_TO_OTHER = "write to another folder"

FAULTS = [
    *(
        Fault(
            PART,
            f"{number.name} at random times",
            f"ends within {SECONDS:g} s with one line; what is done stays, the next run does the rest",
            partial(stopped, number, TIMES, CASES),
            TIMES,
        )
        for number in (signal.SIGTERM, signal.SIGINT)
    ),
    Fault(PART, "no room for a file", "names the file, leaves none", full_disk),
    Fault(
        PART,
        "a second process in the folder of masks",
        "refused, until the first has ended",
        partial(second_process, False, 12),
    ),
    Fault(
        PART,
        "a second process in the folder of masks, the first is killed",
        "refused, until the first is killed",
        partial(second_process, True, 12),
    ),
    Fault(PART, "weights so large that the output is NaN", "every case failed, no mask", partial(overflowing, 2)),
    Fault(PART, "a mask would replace an input", "refused", partial(_in_the_way, _mask_is_input, "is an image to")),
    Fault(PART, "a mask would replace a user's file", "refused", partial(_in_the_way, _users_mask, _TO_OTHER)),
    Fault(PART, "a manifest.json of another program", "refused", partial(_in_the_way, _other_manifest, "remove it")),
    Fault(
        PART,
        f"{SOAK} cases in one process",
        f"memory grows by less than {SLOPE_KB:g} kB a case after {SETTLED} cases, no file stays open, the last mask is "
        "that of a fresh process",
        partial(soak, SOAK, SETTLED),
        SOAK,
    ),
]
