# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From what a user has - a file, a DICOM series, a folder, a data set - to a list of cases that are volumes."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai.data import Dataset, MetaTensor

from ..utils import IMAGE_SUFFIXES, case_name, reason_of
from .datalist import load_datalist
from .dicom_files import is_dicom_place
from .images import is_path
from .label_header import check_label_header
from .listing import find_images
from .readers import image_header

__all__ = ["CaseDataset", "check_case_names", "is_dicomweb", "list_inputs", "open_inputs", "require_input"]

#: What an address of an archive begins with, before that of its web server.
DICOMWEB = "dicomweb+"


def list_inputs(
    path: str | os.PathLike[str] | None,
    dataset_dir: str | os.PathLike[str] | None = None,
    split: str = "test",
    fold: int | None = None,
    holdout: float = 0.2,
    shard: tuple[int, int] | None = None,
) -> list[dict[str, Any]]:
    """List the cases to segment, by their headers; a bad one has a "problem" and costs no other.

    Args:
        path: one image file, the folder of a DICOM series, one of several in a folder (folder/SeriesInstanceUID), a
            folder of these, which is searched in depth, or a Decathlon-style data set. None: ``dataset_dir``, or no
            cases without it, as a bundle's properties are asked for before there is an input.
        dataset_dir: Decathlon-style data set, used when there is no ``path``.
        split: split of a data set. Defaults to "test".
        fold: the tested fold of a data set that has folds, see :func:`c2f_monai.data.load_datalist`.
        holdout: share of the training cases that the split "validation" of a data set without one is, as in training.
            Defaults to 0.2.
        shard: (3, 8) gives the third, eleventh, ... case, and reads the headers of these alone; the shares 1 to 8 are
            all cases, and 1 has what is left out, too. It may be empty. Defaults to None, all cases.

    Returns:
        One dict for each case, with absolute paths: "image", its name "case" with the folders below ``path``, and
        "label" and other keys where a data set has them. "problem" says in one line why an image cannot be used: it is
        no 3D volume, or image and label differ in shape. What looks like an image and is none has the key "skipped",
        why it is left out.

    Raises:
        FileNotFoundError: When the input does not exist or holds no images.
        ValueError: When two cases of a data set have the same name.

    Examples:
        >>> import nibabel, numpy
        >>> folder = getfixture("tmp_path")
        >>> nibabel.save(nibabel.Nifti1Image(numpy.zeros((4, 3, 2)), numpy.eye(4)), folder / "b.nii.gz")
        >>> nibabel.save(nibabel.Nifti1Image(numpy.zeros((4, 3, 2)), numpy.eye(4)), folder / "a.nii")
        >>> [case["case"] for case in list_inputs(folder)]
        ['a', 'b']
        >>> [case["case"] for case in list_inputs(folder, shard=(2, 2))]
        ['b']
    """
    if path is None and dataset_dir is None:
        return []
    place = Path(os.path.abspath(os.path.expanduser(str(dataset_dir if path is None else path))))
    if not place.exists() and not is_dicom_place(place):
        raise FileNotFoundError(f"input {place} does not exist.")
    if path is None or (place / "dataset.json").is_file():
        cases = load_datalist(place, split, holdout, fold)
        check_case_names([case["image"] for case in cases])
        cases = [{**case, "case": case_name(case["image"])} for case in cases]
    else:
        cases = _cases_of(place)
    if shard is not None:
        cases = _share(cases, *shard)
    return [case if "skipped" in case else case | _problem_of(case) for case in cases]


def require_input(path: str | os.PathLike[str] | None, dataset_dir: str | os.PathLike[str] | None = None) -> None:
    """Refuse to run without something to segment.

    Args:
        path: see :func:`list_inputs`.
        dataset_dir: see :func:`list_inputs`.

    Raises:
        ValueError: Without both.
    """
    if path is None and dataset_dir is None:
        raise ValueError(
            "there is nothing to segment: give --input (a file, a DICOM series or a folder of them), or --dataset_dir "
            "(a folder with a dataset.json)."
        )


@contextmanager
def open_inputs(path: str | os.PathLike[str], shard: tuple[int, int] | None = None) -> Iterator[list[dict[str, Any]]]:
    """The cases of an input as :func:`list_inputs` gives them; a zip of images is unpacked for the while.

    Args:
        path: see :func:`list_inputs`, or a zip file of any of these, or the address of a study or series in an archive,
            see :func:`c2f_monai.data.dicomweb.fetch_series`.
        shard: see :func:`list_inputs`.

    Raises:
        FileNotFoundError: as :func:`list_inputs`.
        ValueError: as :func:`list_inputs`, and for a file named .zip that is none, or that unpacks to more than the
            disk of temporary files has room for.
    """
    if is_dicomweb(path):
        with tempfile.TemporaryDirectory(prefix="c2f-") as folder:
            fetched = _fetch(str(path), Path(folder))
            yield fetched if shard is None else _share(fetched, *shard)
        return
    if Path(path).suffix.lower() != ".zip" or not os.path.isfile(path):
        yield list_inputs(path, shard=shard)
        return
    with tempfile.TemporaryDirectory(prefix="c2f-") as folder:
        place = Path(folder) / Path(path).stem  # a series without a folder of its own is named after the zip
        try:
            with zipfile.ZipFile(path) as archive:
                _check_room(path, archive, folder)
                archive.extractall(place)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} is no zip file that can be read: {error}") from error
        except (RuntimeError, zlib.error, EOFError) as error:  # a password, a method that Python has not, damage
            raise ValueError(f"{path} cannot be unpacked: {error}; unpack it yourself and give the folder.") from error
        try:
            cases = list_inputs(place, shard=shard)
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(str(error).replace(str(place), str(path))) from error
        whole = os.path.abspath(path)
        for case in cases:
            case |= {"archive": whole, "source": case["image"].replace(str(place), whole)}
            case |= {key: case[key].replace(str(place), whole) for key in ("problem", "skipped") if key in case}
        yield cases


def _check_room(path: str | os.PathLike[str], archive: zipfile.ZipFile, folder: str) -> None:
    """Refuse what does not fit before anything is unpacked; no file unpacks to more than the archive says of it."""
    needed, free = sum(member.file_size for member in archive.infolist()), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{path} unpacks to {needed / 1e9:.1f} GB, but {os.path.dirname(folder)} has room for {free / 1e9:.1f} GB: "
            "unpack it elsewhere and give the folder, or set TMPDIR to a folder on a larger disk."
        )


class CaseDataset(Dataset):
    """MONAI's ``Dataset`` whose errors say in one line which file they are about.

    MONAI reports a failed transform as "applying transform <object>" and hides the reason in a chain of exceptions.

    Args:
        data: cases, each with its "image": a path, or what :func:`c2f_monai.data.volume_of` gives. What has a "problem"
            is not read.
        transform: preprocessing of a case; its "image" carries the name "case" from then on.
        strict: raise errors. Otherwise such a case has its "case", "image" and "problem" alone. Defaults to True.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Any = None, strict: bool = True) -> None:
        super().__init__(data, transform)
        self.strict = strict

    def _transform(self, index: int) -> Any:
        case = self.data[index]
        name = case.get("case", "")
        problem = case.get("problem")
        if problem is None:
            try:
                return _with_name(super()._transform(index), name)
            except Exception as error:
                image, reason = case["image"], reason_of(error)
                path = str(image) if is_path(image) else "the image"
                problem = reason if path in reason else f"{path} cannot be used: {reason}"
                # Of a zip or an archive the user has another path, and by then this one is gone.
                problem = problem.replace(path, str(case.get("source", path)))
                if self.strict:
                    raise ValueError(problem) from error
        if self.strict:
            raise ValueError(problem)
        return {"case": name, "image": str(case["image"]), "problem": problem}


def _with_name(item: dict[str, Any], name: str) -> dict[str, Any]:
    if name and isinstance(item["image"], MetaTensor):
        item["image"].meta["case"] = name
    return item


def is_dicomweb(path: str | os.PathLike[str]) -> bool:
    """Whether an input is an address of DICOMweb: ``dicomweb+https://host/studies/UID``.

    Examples:
        >>> is_dicomweb("dicomweb+http://localhost:8042/dicom-web/studies/1.2.3"), is_dicomweb("ct.nii.gz")
        (True, False)
    """
    return str(path).startswith(DICOMWEB)


def _fetch(address: str, folder: Path) -> list[dict[str, Any]]:
    """Cases of an archive, each with the address of its series as its "source"."""
    from .dicomweb import fetch_series  # with packages of the extra dicom

    addresses = fetch_series(address, folder)
    cases = [{"image": str(folder / uid), "case": uid, "source": source} for uid, source in addresses.items()]
    return [case | _problem_of(case) for case in cases]


def _cases_of(place: Path) -> list[dict[str, Any]]:
    if not place.is_dir():
        return [{"image": str(place), "case": case_name(place)}]
    found = find_images(place)
    names = _names(found.images, place)
    cases = [{"image": str(image), "case": name} for image, name in zip(found.images, names, strict=True)]
    left = [(path, path.relative_to(place).as_posix(), reason) for path, reason in found.left_out.items()]
    if not cases:
        told = f"; left out: {left[0][0]} ({left[0][2]})" if left else ""
        raise FileNotFoundError(
            f"input {place} holds no images ({', '.join(IMAGE_SUFFIXES)}) and no DICOM series{told}."
        )
    cases += [{"image": str(path), "case": name, "skipped": f"{path}: {why}"} for path, name, why in left]
    return sorted(cases, key=lambda case: Path(case["image"]))


def _share(cases: Sequence[dict[str, Any]], number: int, shares: int) -> list[dict[str, Any]]:
    """One of several shares of a list of cases.

    Raises:
        ValueError: for a share that there is none of.
    """
    if not 1 <= number <= shares:
        raise ValueError(f"shard must be one of 1/{shares} to {shares}/{shares}, got {number}/{shares}.")
    wanted = [case for case in cases if "skipped" not in case][number - 1 :: shares]
    return wanted + [case for case in cases if "skipped" in case and number == 1]


def _problem_of(case: dict[str, Any]) -> dict[str, str]:
    """Why a case cannot be used by its headers, as its "problem"; empty where nothing is wrong."""
    try:
        shape, affine = image_header(case["image"])
        if "label" in case:
            check_label_header(case["label"], case["image"], shape, affine)
    except (OSError, ValueError) as error:
        return {"problem": str(error)}
    return {}


def _names(images: Sequence[Path], folder: Path) -> list[str]:
    """Names of cases: their paths below the folder, without the suffix where this leaves them apart."""
    whole = [Path(os.path.relpath(image, folder)) for image in images]
    paths = [path if str(path) != "." else Path(image.name) for path, image in zip(whole, images, strict=True)]
    short = [path.with_name(case_name(path)).as_posix() for path in paths]
    counts = Counter(short)
    return [path.as_posix() if counts[name] > 1 else name for path, name in zip(paths, short, strict=True)]


def check_case_names(paths: Iterable[str]) -> None:
    """Refuse images of a data set that are called alike: a case is named after its file alone.

    Args:
        paths: of the images.

    Raises:
        ValueError: for the first two.
    """
    seen: dict[str, str] = {}
    for path in paths:
        name = case_name(path)
        if name in seen:
            raise ValueError(f"{seen[name]} and {path} are both named after the case {name}: rename one.")
        seen[name] = path
