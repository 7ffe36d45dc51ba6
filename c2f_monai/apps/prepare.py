# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``prepare``: from a public data set, or from folders of one's own, to a ``dataset.json`` with folds."""

from __future__ import annotations

import argparse
from contextlib import suppress

from ..data.folds import check_folds
from ..utils import FolderLock, end_on_signals

__all__ = ["run"]


def run(args: argparse.Namespace) -> None:
    """Prepare the data set, and print what is done while it is done.

    Raises:
        OSError: When a file does not exist or cannot be written, or another process writes to the folder.
        ValueError: When the data set cannot be used.
    """
    end_on_signals()
    if args.preparer.has_folds:
        check_folds(args.folds, args.fold_seed)
    made = not args.output.exists()
    lock = FolderLock(args.output)
    lock.acquire()  # of two at once the files of one would be listed by the other
    try:
        for line in args.preparer.prepare(args):
            print(line, flush=True)
    finally:
        lock.release()
        if made:
            with suppress(OSError):  # it holds something
                args.output.rmdir()
