# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a data set calls the values of its label maps, for whoever reads the masks of weights trained on it."""

from __future__ import annotations

import os
from pathlib import Path

from .datalist import label_names

__all__ = ["known_names"]


def known_names(dataset_dir: str | os.PathLike[str]) -> dict[int, str]:
    """Names of label values, see :func:`c2f_monai.data.datalist.label_names`; none where there is no file that says it.

    Args:
        dataset_dir: a folder; consumers that bring lists of their own have none.

    Raises:
        ValueError: when its ``dataset.json`` is unreadable, or "labels" has another form.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> known_names(folder)
        {}
        >>> _ = (folder / "dataset.json").write_text('{"labels": {"0": "background", "1": "liver"}}')
        >>> known_names(folder)
        {0: 'background', 1: 'liver'}
    """
    return label_names(dataset_dir) if (Path(dataset_dir) / "dataset.json").is_file() else {}
