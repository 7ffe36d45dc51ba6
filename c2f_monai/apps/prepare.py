# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``prepare``: from a public data set, or from folders of one's own, to a ``dataset.json`` with folds."""

from __future__ import annotations

import argparse

__all__ = ["run"]


def run(args: argparse.Namespace) -> None:
    """Prepare the data set, and print what is done while it is done.

    Raises:
        OSError: When a file does not exist or cannot be written.
        ValueError: When the data set cannot be used.
    """
    for line in args.preparer.prepare(args):
        print(line, flush=True)
