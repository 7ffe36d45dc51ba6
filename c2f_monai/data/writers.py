# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Writing of volumes and masks: whole files or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import DtypeLike, NdarrayOrTensor, PathLike
from monai.data import FolderLayoutBase
from monai.data.image_writer import NibabelWriter
from monai.transforms import Transform
from monai.utils import convert_to_numpy

from ..utils import atomic_write, corner_distance, name_of_case, package_version
from .nifti_checks import SAME_PLACE, open_nifti

__all__ = [
    "MADE_BY",
    "AtomicNiftiWriter",
    "CaseLayout",
    "MaskOrigin",
    "check_nifti_name",
    "made_here",
    "name_after_case",
    "nifti_image",
    "write_nifti",
]

#: The header of a mask says that it is no image to segment.
MADE_BY = "c2f_monai"


@dataclass(frozen=True)
class MaskOrigin:
    """What made a mask and what its values mean, for the headers of files.

    Attributes:
        labels: names of the values beside the background. A name that DICOM has a SNOMED CT code for, such as
            "pancreas" (15776009) or "cyst", gets it; others become "Tissue" with this label.
        model: name of the model.
        weights: SHA-256 of its files of weights by their names.
        signature: of configuration and weights, see :class:`c2f_monai.apps.segmenter.Segmenter`.
    """

    labels: Mapping[int, str] = field(default_factory=dict)
    model: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)
    signature: str = ""

    @property
    def description(self) -> str:
        """One line of at most 64 letters, DICOM's limit."""
        return f"{MADE_BY} {package_version()} {self.signature}".strip()[:64]


def nifti_image(volume: np.ndarray, affine: np.ndarray, description: str = "") -> nib.Nifti1Image:
    """NIfTI image of a (H, W, D) volume in its own type, with the (4, 4) affine to RAS mm as qform and sform.

    A sheared volume, as of a tilted gantry, has its sform alone.
    """
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    image.set_qform(affine, code=1)
    # A qform holds no shears, and programs such as ITK read it first: without one they take the sform or refuse it.
    if corner_distance(image.get_qform(), affine, volume.shape[:3]) > SAME_PLACE:
        image.set_qform(None, code=0)
    image.set_sform(affine, code=1)
    return image


def check_nifti_name(path: PathLike) -> None:
    """Refuse the name of a file that is no NIfTI's.

    Raises:
        ValueError: when it does not end in .nii or .nii.gz.
    """
    if not str(path).lower().endswith((".nii", ".nii.gz")):
        raise ValueError(f"{path} must end in .nii.gz or .nii: volumes are written as NIfTI.")


def write_nifti(path: PathLike, volume: np.ndarray, affine: np.ndarray, description: str = "") -> None:
    """Write a NIfTI file whole or not at all; the same volume gives the same bytes, also compressed.

    Args:
        path: ends in .nii or .nii.gz.
        volume: (H, W, D), or (H, W, D, K), written in its own type.
        affine: (4, 4) from voxels to RAS mm.
        description: text for the header, at most 79 letters. Defaults to none.

    Raises:
        ValueError: for another suffix.

    Examples:
        >>> path = getfixture("tmp_path") / "mask.nii.gz"
        >>> write_nifti(path, np.ones((4, 3, 2), np.uint8), np.diag([2.0, 2.0, 5.0, 1.0]))
        >>> nib.load(path).affine.diagonal().tolist()
        [2.0, 2.0, 5.0, 1.0]
    """
    check_nifti_name(path)
    image = nifti_image(volume, affine, description)
    with atomic_write(path) as part:
        nib.save(image, part)


def made_here(path: PathLike) -> bool:
    """Whether the header of a NIfTI or DICOM file says that a mask of this package is in it; no for what cannot be
    read.
    """
    try:
        if str(path).lower().endswith(".dcm"):
            import pydicom  # of the extra dicom, as all that writes such files

            return bool(pydicom.dcmread(path, stop_before_pixels=True).ManufacturerModelName == MADE_BY)
        header = open_nifti(path).header
        return bytes(header["descrip"]).rstrip(b"\0").decode("latin-1").startswith(MADE_BY)
    except Exception:  # of another kind, or broken
        return False


def name_after_case(meta: Mapping[str, Any] | None, saver: Transform) -> dict[str, Any]:
    """Name formatter of ``SaveImaged``: the case's name, folders and dots in it included, for :class:`CaseLayout`.

    Examples:
        >>> from monai.transforms import SaveImage
        >>> saver = SaveImage(print_log=False, output_name_formatter=name_after_case, folder_layout=CaseLayout("out"))
        >>> name_after_case({"filename_or_obj": "/ct/patient.01.mha"}, saver)
        {'subject': 'patient.01'}
    """
    return {"subject": name_of_case(meta or {}) or str(getattr(saver, "_data_index", 0))}


class CaseLayout(FolderLayoutBase):
    """Places of files by the names of their cases, which may lie in folders of folders; MONAI's drops these.

    Args:
        output_dir: folder of the files.
        ending: of a file, after the name of its case.

    Examples:
        >>> CaseLayout("out").filename("patient.01/ct")
        'out/patient.01/ct_seg.nii.gz'
    """

    def __init__(self, output_dir: PathLike, ending: str = "_seg.nii.gz") -> None:
        self.output_dir, self.ending = output_dir, ending

    def filename(self, subject: PathLike = "case", **kwargs: Any) -> str:
        """Path of a case's file; other arguments are ignored."""
        return os.fspath(Path(self.output_dir) / f"{subject}{self.ending}")


class AtomicNiftiWriter(NibabelWriter):
    """NIfTI writer for ``SaveImaged(writer=...)`` that never leaves half a file and never resamples.

    The file is written beside its final place and renamed into it. The data must be one channel on the grid that its
    affine describes, as ``Invertd`` leaves it. A volume of one slice stays a volume.

    Args:
        output_dtype: type of the file's voxels. Defaults to float32.
        submit: takes a call that writes a file, and makes it at some time, see
            :py:class:`c2f_monai.handlers.WriteInBackground`. Defaults to None, files are written at once.
        kwargs: further arguments of ``monai.data.NibabelWriter``.
    """

    def __init__(
        self,
        output_dtype: DtypeLike = np.float32,
        submit: Callable[[Callable[[], None]], None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_dtype=output_dtype, **kwargs)
        self.submit = submit

    def set_data_array(
        self, data_array: NdarrayOrTensor, channel_dim: int | None = 0, squeeze_end_dims: bool = True, **kwargs: Any
    ) -> None:
        """
        Args:
            data_array: (1, H, W, D) mask, or (H, W, D) with ``channel_dim`` None.
            channel_dim: the channel's axis, 0 or None.
            squeeze_end_dims: ignored: a volume of one slice keeps its three axes.
            kwargs: ignored, they belong to resampling writers.

        Raises:
            ValueError: When the data is not one 3D channel.
        """
        array = convert_to_numpy(data_array)
        if channel_dim is None:
            array = array[None]
        if array.ndim != 4 or array.shape[0] != 1:
            raise ValueError(f"one channel of three axes can be written, got the shape {tuple(array.shape)}.")
        self.data_obj = array[0]

    def set_metadata(self, meta_dict: Mapping | None, resample: bool = True, **options: Any) -> None:
        """Take the affine, (4, 4) to RAS mm, from ``meta_dict``; the identity without one."""
        affine = None if meta_dict is None else meta_dict.get("affine")
        self.affine = np.eye(4) if affine is None else convert_to_numpy(affine).astype(np.float64)

    def write(self, filename: PathLike, verbose: bool = False, **kwargs: Any) -> None:
        """Write ``filename``, a path that ends in .nii or .nii.gz."""
        task = partial(
            write_nifti,
            filename,
            np.asarray(self.data_obj, dtype=self.output_dtype),
            self.affine,
            MaskOrigin().description,
        )
        if self.submit is None:
            task()
        else:
            self.submit(task)
