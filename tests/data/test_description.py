# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whose dataset.json it is: what was prepared here is replaced by the same data set, what others wrote stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from c2f_monai.data.description import check_output, describe_dataset, write_description

CASES = [{"image": "a.nii.gz", "label": "b.nii.gz"}]
OWN = describe_dataset("Dataset219_X", {1: "pancreas"}, CASES)
NNUNET = {
    "name": "Dataset219_X",
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "pancreas": 1},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}


@pytest.mark.parametrize(
    "content",
    [
        NNUNET,
        {"name": "Dataset219_X", "training": CASES},
        OWN | {"reference": "", "licence": "", "release": "1.0", "tensorImageSize": "4D"},  # nnU-Net's first version
    ],
)
def test_what_another_program_wrote_under_the_same_name_stays(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    for write in (lambda: check_output(tmp_path, "Dataset219_X"), lambda: write_description(tmp_path, OWN)):
        with pytest.raises(FileExistsError, match="was not written by c2f prepare, and would be lost; choose another"):
            write()
    assert json.loads(path.read_text(encoding="utf-8")) == content


@pytest.mark.parametrize("further", [{}, {"description": "of a collection", "skipped": []}, {"key": "of a preparer"}])
def test_what_was_prepared_here_is_replaced_by_the_same_data_set(tmp_path: Path, further: dict[str, Any]) -> None:
    content = describe_dataset("one", {1: "x"}, CASES, test=CASES, further=further)
    write_description(tmp_path, content)
    check_output(tmp_path, "one")
    write_description(tmp_path, content)
    with pytest.raises(FileExistsError, match="describes the data set 'one' already"):
        check_output(tmp_path, "two")
