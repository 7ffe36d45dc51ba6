# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What label maps, their CTs and names are refused for by their headers and text, before anything is drawn."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.data.anatomies import find_anatomies, read_names


def _write(path: Path, shape: tuple[int, ...] = (4, 4, 4), place: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.zeros(shape, np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    if not place:
        image.set_sform(None, code=0)
        image.set_qform(None, code=0)
    nib.save(image, path)
    return path


def test_a_label_map_of_several_volumes_is_refused(tmp_path: Path) -> None:
    """The first of them was drawn from, without a word."""
    path = _write(tmp_path / "maps" / "b.nii.gz", (4, 4, 4, 2))
    _write(tmp_path / "maps" / "a.nii.gz")
    with pytest.raises(ValueError, match=r"b\.nii\.gz is a 4D image of 4x4x4x2, but a CT volume has three axes"):
        find_anatomies([tmp_path / "maps"])
    _write(path, (4, 4, 4, 1))
    assert [anatomy.name for anatomy in find_anatomies([tmp_path / "maps"])] == ["a", "b"]


@pytest.mark.parametrize("bad", ["maps", "cts"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.NII"])
def test_volumes_of_no_known_place_are_refused(bad: str, name: str, tmp_path: Path) -> None:
    for folder in ("maps", "cts"):
        _write(tmp_path / folder / name, place=folder != bad)
    with pytest.raises(ValueError, match=rf"{bad}.{name} cannot be used: it has neither sform nor qform"):
        find_anatomies([tmp_path / "maps"], tmp_path / "cts")
    if bad == "maps":
        with pytest.raises(ValueError, match=rf"{name} cannot be used: it has neither sform nor qform"):
            find_anatomies([tmp_path / "maps"])


def test_two_scans_of_a_label_map_are_refused(tmp_path: Path) -> None:
    """Whichever the folder listed last was taken; those of other names do not matter."""
    for name in ("x.nii", "x.nii.gz", "y.nii.gz"):
        _write(tmp_path / "cts" / name)
    _write(tmp_path / "maps" / "y.nii.gz")
    assert [anatomy.image for anatomy in find_anatomies([tmp_path / "maps"], tmp_path / "cts")] == [
        tmp_path / "cts" / "y.nii.gz"
    ]
    _write(tmp_path / "maps" / "x.nii.gz")
    with pytest.raises(ValueError, match=r"cts.x\.nii and .*cts.x\.nii\.gz both have the name of .*take one"):
        find_anatomies([tmp_path / "maps"], tmp_path / "cts")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_names_of_another_encoding_are_refused_by_the_name_of_the_file(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("50 pankreas\n51 Drüse\n", encoding=encoding)
    with pytest.raises(ValueError, match=r"names\.txt is no text in UTF-8: save it as UTF-8"):
        read_names(tmp_path / "names.txt")
