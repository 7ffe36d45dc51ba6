# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From what a user has - a file, a DICOM series, a folder, a data set - to a list of cases that are volumes."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai.data import Dataset

from ..utils import IMAGE_SUFFIXES, case_name
from .datalist import load_datalist
from .images import is_path
from .readers import dicom_series, image_shape, is_image_file, reason_of

__all__ = ["CaseDataset", "list_inputs", "open_inputs"]


def list_inputs(
    path: str | os.PathLike[str] | None,
    dataset_dir: str | os.PathLike[str] | None = None,
    split: str = "test",
    fold: int | None = None,
) -> list[dict[str, Any]]:
    """List the cases to segment; their headers are read, so that a bad file is an error before any long work.

    Args:
        path: one image file, the folder of a DICOM series, a folder of image files and DICOM folders, or a
            Decathlon-style data set. A folder without any is searched in depth. None: the data set ``dataset_dir``.
        dataset_dir: Decathlon-style data set, used when there is no ``path``.
        split: split of a data set. Defaults to "test".
        fold: the tested fold of a data set that has folds, see :func:`c2f_monai.data.load_datalist`.

    Returns:
        One dict for each case, with absolute paths: "image", and "label" and other keys where a data set has them.

    Raises:
        FileNotFoundError: When the input does not exist or holds no images.
        ValueError: Without both; when a file is not one 3D volume, image and label differ in shape, a folder holds
            several DICOM series, or two cases have the same name.

    Examples:
        >>> import nibabel, numpy
        >>> folder = getfixture("tmp_path")
        >>> nibabel.save(nibabel.Nifti1Image(numpy.zeros((4, 3, 2)), numpy.eye(4)), folder / "b.nii.gz")
        >>> nibabel.save(nibabel.Nifti1Image(numpy.zeros((4, 3, 2)), numpy.eye(4)), folder / "a.nii")
        >>> [Path(case["image"]).name for case in list_inputs(folder)]
        ['a.nii', 'b.nii.gz']
    """
    if path is None and dataset_dir is None:
        raise ValueError(
            "there is nothing to segment: give --input (a file, a DICOM series or a folder of them), or --dataset_dir "
            "(a folder with a dataset.json)."
        )
    place = Path(os.path.abspath(os.path.expanduser(str(dataset_dir if path is None else path))))
    if not place.exists():
        raise FileNotFoundError(f"input {place} does not exist.")
    if path is None or (place / "dataset.json").is_file():
        cases = load_datalist(place, split, fold=fold)
    else:
        cases = [{"image": str(image)} for image in (_images_of(place) if place.is_dir() else [place])]
    _check_names([case["image"] for case in cases])
    for case in cases:
        shape = image_shape(case["image"])
        if "label" in case and (label_shape := image_shape(case["label"])) != shape:
            raise ValueError(f"{case['label']} has the shape {label_shape}, but its image {case['image']} {shape}.")
    return cases


@contextmanager
def open_inputs(path: str | os.PathLike[str]) -> Iterator[list[dict[str, Any]]]:
    """The cases of an input as :func:`list_inputs` gives them; a zip of images is unpacked for the while.

    Args:
        path: see :func:`list_inputs`, or a zip file of any of these.

    Raises:
        FileNotFoundError: as :func:`list_inputs`.
        ValueError: as :func:`list_inputs`, and for a file named .zip that is none.
    """
    if Path(path).suffix.lower() != ".zip" or not os.path.isfile(path):
        yield list_inputs(path)
        return
    with tempfile.TemporaryDirectory(prefix="c2f-") as folder:
        place = Path(folder) / Path(path).stem  # a series without a folder of its own is named after the zip
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(place)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} is no zip file that can be read: {error}") from error
        try:
            cases = list_inputs(place)
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(str(error).replace(str(place), str(path))) from error
        yield cases


class CaseDataset(Dataset):
    """MONAI's ``Dataset`` whose errors say in one line which file they are about.

    MONAI reports a failed transform as "applying transform <object>" and hides the reason in a chain of exceptions.

    Args:
        data: cases, each with its "image": a path, or what :func:`c2f_monai.data.volume_of` gives.
        transform: preprocessing of a case.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Any = None) -> None:
        super().__init__(data, transform)

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except Exception as error:
            image, reason = self.data[index]["image"], reason_of(error)
            path = str(image) if is_path(image) else "the image"
            raise ValueError(reason if path in reason else f"{path} cannot be used: {reason}") from error


def _images_of(folder: Path) -> list[Path]:
    if found := _images_in(folder):
        return found
    below = [image for sub in _visible(folder) if sub.is_dir() for image in _images_below(sub)]
    if not below:
        raise FileNotFoundError(f"input {folder} holds no images ({', '.join(IMAGE_SUFFIXES)}) and no DICOM series.")
    return sorted(below)


def _images_in(folder: Path) -> list[Path]:
    """The images of a folder, and series in folders of their own; itself where it is a series."""
    visible = _visible(folder)
    images = [entry for entry in visible if entry.is_file() and is_image_file(entry)]
    if not images and dicom_series(folder):
        return [folder]
    return sorted(images + [entry for entry in visible if entry.is_dir() and dicom_series(entry)])


def _images_below(folder: Path) -> list[Path]:
    found = _images_in(folder)
    return found or [image for sub in _visible(folder) if sub.is_dir() for image in _images_below(sub)]


def _visible(folder: Path) -> list[Path]:
    # macOS adds the second to archives.
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))


def _check_names(paths: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        name = case_name(path)
        if name in seen:
            raise ValueError(f"{seen[name]} and {path} would both be written as {name}; rename one.")
        seen[name] = path
