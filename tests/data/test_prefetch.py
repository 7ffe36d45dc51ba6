# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from torch.utils.data import Dataset

from c2f_monai.data import PrefetchDataLoader
from tests.processes import run_python

ROOT = Path(__file__).resolve().parents[2]


class Numbers(Dataset):
    """0, 1, 2, ...; it remembers what was asked for, and refuses one."""

    def __init__(self, count: int, bad: int | None = None) -> None:
        self.count, self.bad, self.asked = count, bad, []
        self.third = threading.Event()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        self.asked.append(index)
        if index == 2:
            self.third.set()
        if index == self.bad:
            raise ValueError(f"{index} cannot be read")
        return index


@pytest.mark.parametrize("ahead", [1, 3, 20])
def test_batches_come_in_order(ahead: int) -> None:
    loader = PrefetchDataLoader(Numbers(7), ahead=ahead, batch_size=2)
    for _ in range(2):  # an epoch, and another
        assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5], [6]]


def test_the_next_batches_are_made_meanwhile() -> None:
    numbers = Numbers(10)
    batches = iter(PrefetchDataLoader(numbers, ahead=2, batch_size=1))
    assert next(batches).item() == 0
    assert numbers.third.wait(10)  # nobody has asked for 1 yet
    batches.close()
    assert max(numbers.asked) <= 2


def test_an_error_is_raised_where_its_batch_is_due() -> None:
    found = []
    with pytest.raises(ValueError, match="2 cannot be read"):
        found.extend(batch.item() for batch in PrefetchDataLoader(Numbers(5, bad=2), ahead=3, batch_size=1))
    seen = iter(PrefetchDataLoader(Numbers(5, bad=2), ahead=3, batch_size=1))
    assert [next(seen).item(), next(seen).item()] == [0, 1]
    with pytest.raises(ValueError, match="2 cannot be read"):
        next(seen)


def test_nothing_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="ahead must be at least 1, got 0"):
        PrefetchDataLoader(Numbers(1), ahead=0)


ENDS = """
import sys, threading, time
from c2f_monai.data import PrefetchDataLoader, prefetch

class Slow:
    def __len__(self):
        return 9
    def __getitem__(self, index):
        if index == 1:
            begun.set()
            time.sleep(float(sys.argv[1]))
            print("made", flush=True)
        return index

begun, prefetch.PATIENCE = threading.Event(), float(sys.argv[2])
batches = iter(PrefetchDataLoader(Slow(), batch_size=1))
next(batches)
begun.wait()
sys.exit(130)
"""


@pytest.mark.parametrize(("seconds", "patience", "printed"), [("0.2", "30", "made\n"), ("30", "0.1", "")])
def test_the_end_of_the_process_waits_for_a_batch_but_not_long(
    seconds: str, patience: str, printed: str, tmp_path: Path
) -> None:
    """A thread that is in PyTorch's code at the end aborts the process."""
    done = run_python(["-c", ENDS, seconds, patience], ROOT, dict(os.environ))
    assert (done.returncode, done.stdout) == (130, printed)
