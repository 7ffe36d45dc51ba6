# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Segmentation as a function: the bundle's inference on images in memory or in files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from monai.data import decollate_batch
from monai.transforms import Compose

from ..data import CaseDataset, PrefetchDataLoader, open_inputs, volume_of
from ..data.images import check_own_grid, is_path
from ..data.preprocessing import READ_IMAGE, keep_read_image
from ..data.writers import MaskOrigin
from ..utils import amp_dtype_on, check_amp_dtype, has_bfloat16, reason_of, sha256_of, torch_device
from .engines import check_engine, graphs_of
from .model_config import label_names, read_model, signature_of
from .models import DEFAULT_MODEL
from .outputs import OUTPUT_TYPES, Job, OutputType, check_places, check_type
from .segmentation import Segmentation

__all__ = ["Segmenter", "segment"]


class Segmenter:
    """
    A model that stays in memory for many images: network, transforms and inferer of the bundle's ``inference.json``.

    Masks are those of ``python -m monai.bundle run`` with the same configurations, voxel for voxel.

    Args:
        model: a name in :data:`c2f_monai.apps.models.MODELS`, the folder of a bundle with a ``configs/inference.json``,
            or a file of weights for the packaged bundle, with the settings of its training where they lie beside it
            (``model.json`` of ``model.pt``). Defaults to :data:`DEFAULT_MODEL`.
        device: "cpu", "gpu", "gpu:1", "mps" or one of torch's. Defaults to None, the configuration's: the first GPU,
            else the CPU.
        fast: run the networks in bfloat16 where the device has it. Defaults to False.
        configs: overlays to append, see :func:`c2f_monai.utils.config_file`.
        progress: show a bar for the rounds of each image. Defaults to False.
        options: further ids of the configuration, such as ``max_rounds``.
        engine: what runs the networks: "torch", or "onnx" for ONNX Runtime, float32 on the CPU, with the extra
            ``onnx``; the first use of a model makes its graphs, which takes up to a minute. Defaults to "torch".

    Attributes:
        config: the configuration.
        device: where the network is.
        fast: whether it runs in bfloat16.
        engine: what runs it.
        files: the file of weights, or files by the names of their networks.
        weights: SHA-256 of the files of weights by their paths.
        signature: 12 hexadecimal digits of configuration and weights: equal ones give equal masks on one machine.

    Raises:
        FileNotFoundError: when there is no such model, configuration or file of weights.
        ValueError: when the device is not there, or the weights do not fit the network.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        device: str | torch.device | None = None,
        fast: bool = False,
        configs: Sequence[str | os.PathLike[str]] = (),
        progress: bool = False,
        options: Mapping[str, Any] | None = None,
        engine: str = "torch",
    ) -> None:
        self.config = read_model(model, configs, options)
        self.config["progress"] = progress
        if device is not None:
            self.config["device"] = str(torch_device(device))
        self.device = torch.device(self._content("device"))
        check_engine(engine, self.device, fast)
        self.engine = engine
        self.fast = fast and has_bfloat16(self.device)
        if self.fast:
            self.config["amp_dtype"] = "bfloat16"
        load = self._content("load_weights")
        # Those of the evaluator: overlays put others in the place of the ids network and inferer.
        self.network = self._content("evaluator#network").eval()
        load()
        self.files: str | dict[str, str] = load.path if isinstance(load.path, str) else dict(load.path)
        files = [self.files] if isinstance(self.files, str) else [file for _, file in sorted(self.files.items())]
        self.weights = {file: sha256_of(file) for file in files}
        self.name = Path(model).name  # no place: it goes to archives
        self.signature = signature_of(self.config, [*self.weights.values(), *([] if engine == "torch" else [engine])])
        if engine == "onnx":
            self.network = graphs_of(self.network, self.name, self.signature)
        self.preprocessing, self.inferer = self._content("preprocessing"), self._content("evaluator#inferer")
        self.invert, self.label_map = self._content("invert"), self._content("label_map")
        # A bundle of an older version has none.
        self.near_mask = self._content("near_mask") if "near_mask" in self.config.get() else Compose()

    @property
    def precision(self) -> str:
        """Of the convolutions, such as "float32": that of the configuration, whoever set it."""
        given = self._content("amp_dtype") if self.engine == "torch" and "amp_dtype" in self.config.get() else None
        dtype = amp_dtype_on(check_amp_dtype(given), self.device)
        return str(dtype or torch.float32).removeprefix("torch.")

    def __call__(
        self, image: Any, affine: Any = None, probability: bool = False, spacing: Sequence[float] | None = None
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: a file or the folder of a DICOM series, or an image in memory, see
                :func:`c2f_monai.data.volume_of`.
            affine: (4, 4) from voxels to RAS mm, of an array.
            probability: keep the probabilities. Defaults to False.
            spacing: in place of ``affine``, the voxel size in mm along the axes of a RAS array (H, W, D), see
                :func:`c2f_monai.data.volume_of`.

        Raises:
            ValueError: when it cannot be used as a CT, or for a bad argument.
        """
        (result,) = self.each([_given(image, affine, spacing)], probability)
        return result

    @torch.no_grad()
    def each(self, images: Iterable[Any], probability: bool = False) -> Iterator[Segmentation]:
        """Segment images one after the other; the next one is read meanwhile.

        Args:
            images: paths, or what :func:`c2f_monai.data.volume_of` gives.
            probability: as for the call.
        """
        for result in self.each_case([{"image": str(i) if is_path(i) else i} for i in images], probability):
            if isinstance(result, Exception):
                raise result
            yield result

    @torch.no_grad()
    def each_case(
        self, cases: Sequence[dict[str, Any]], probability: bool = False, keep_image: bool = False
    ) -> Iterator[Segmentation | Exception]:
        """Segment cases as :func:`c2f_monai.data.list_inputs` lists them; one that fails gives its exception.

        Args:
            cases: each with its "image", as for :meth:`each`.
            probability: as for the call.
            keep_image: keep the image, which is not to be read a second time for a figure. Defaults to False.
        """
        transform = keep_read_image(self.preprocessing) if keep_image else self.preprocessing
        dataset = CaseDataset(cases, transform, strict=False)
        for batch in PrefetchDataLoader(dataset, batch_size=1, num_workers=0):
            try:
                result: Segmentation | Exception = self._answer(batch, probability)
            except Exception as error:
                result = error
            yield result

    @property
    def options(self) -> dict[str, Any]:
        """What answers depend on beside the weights, by the ids that users give."""
        known = "options" in self.config.get()
        options = dict(self._content("options")) if known else {"configuration": self.signature}
        return options if self.engine == "torch" else {**options, "engine": self.engine}

    @property
    def origin(self) -> MaskOrigin:
        """What masks are of, for the headers of their files; their values are named by what comes with the weights."""
        weights = {Path(file).name: digest for file, digest in self.weights.items()}
        return MaskOrigin(label_names(self.config, self.weights), self.name, weights, self.signature)

    @property
    def values(self) -> tuple[int, ...]:
        """What masks may hold beside the background; of a bundle that does not say it, nothing."""
        known = self._content("output_value") if "output_value" in self.config.get() else ()
        return tuple(known) if isinstance(known, Sequence) else (int(known),)

    def _answer(self, batch: dict[str, Any], probability: bool) -> Segmentation:
        if "problem" in batch:
            raise ValueError(batch["problem"][0])
        batch["pred"] = self.inferer(batch["image"].to(self.device), self.network)
        (case,) = decollate_batch(batch)
        if not probability:
            case = self.near_mask(case)
        found = self.invert(case)["pred"]
        mask = self.label_map({"pred": found})["pred"].cpu()
        image = case.get(READ_IMAGE)
        return Segmentation(mask[0], self.inferer.records[0], found.cpu() if probability else None, image)

    def _content(self, name: str) -> Any:
        """What an id of the configuration stands for; of an error that MONAI wraps, its cause."""
        try:
            return self.config.get_parsed_content(name)
        except RuntimeError as error:
            raise ValueError(f"{name} of the model cannot be made: {reason_of(error)}") from error


def segment(
    image: Any,
    output: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    device: str | torch.device | None = None,
    fast: bool = False,
    affine: Any = None,
    probability: bool = False,
    configs: Sequence[str | os.PathLike[str]] = (),
    progress: bool = False,
    output_type: str = "nifti",
    spacing: Sequence[float] | None = None,
    engine: str = "torch",
) -> Segmentation:
    """Segment one image; :class:`Segmenter` keeps the network for several.

    Args:
        image: a file (NIfTI, NRRD, MHA), the folder or a zip of a DICOM series, a nibabel, ITK or SimpleITK image, a
            MetaTensor, or an array (H, W, D) with ``affine`` or ``spacing``.
        output: where the mask is written, a path that ends in .nii or .nii.gz, or .dcm for DICOM; a file there is
            replaced. Defaults to None.
        model: see :class:`Segmenter`.
        device: see :class:`Segmenter`.
        fast: see :class:`Segmenter`.
        affine: (4, 4) from voxels to RAS mm, of an array.
        probability: return the probabilities. Defaults to False.
        configs: see :class:`Segmenter`.
        progress: show a bar for the rounds. Defaults to False.
        output_type: "nifti", or "dicom-seg" or "rtstruct" for the path of a DICOM series, which need the packages of
            the extra ``dicom``.
        spacing: voxel size in mm along the axes of an array, in place of ``affine`` where these run to the patient's
            right, front and head (RAS), see :func:`c2f_monai.data.volume_of`.
        engine: see :class:`Segmenter`.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: when the image cannot be used as a CT, or is a folder of several, or for a bad argument.

    Examples:
        >>> import nibabel
        >>> import numpy as np
        >>> values = np.random.default_rng(0).integers(-100, 200, (32, 32, 24), np.int16)
        >>> ct = nibabel.Nifti1Image(values, np.diag([3.0, 3.0, 3.0, 1.0]))
        >>> result = segment(ct, device="cpu")
        >>> result.mask.shape, result.mask.dtype, len(result.record.rounds) > 0
        (torch.Size([32, 32, 24]), torch.uint8, True)
        >>> bare = segment(values, spacing=(3.0, 3.0, 3.0), device="cpu")
        >>> bool((bare.mask == result.mask).all())
        True
    """
    kind = _check_output(image, output, output_type)
    given = _given(image, affine, spacing)
    opened = open_inputs(image) if is_path(image) else nullcontext([{"image": given}])
    with opened as cases:
        cases = [case for case in cases if "skipped" not in case]
        if len(cases) != 1:
            raise ValueError(f"{image} holds {len(cases)} images: give one, or use Segmenter.each for several.")
        if output is not None:
            cases = check_type(cases, kind) if is_path(image) else cases
            _check_place(cases[0], Path(output))
        segmenter = Segmenter(model, device, fast, configs, progress, engine=engine)
        if output is not None:
            kind.check(segmenter.values, segmenter.origin)
        (result,) = segmenter.each_case(cases, probability)
        if isinstance(result, Exception):
            raise result
        if output is not None and output_type == "nifti":
            result.save(output)
        elif output is not None:
            kind.write(result, Path(str(cases[0]["image"])), Path(output), segmenter.origin)
    return result


def _check_place(case: Mapping[str, Any], output: Path) -> None:
    """Refuse to write to the image, also to the file of one in memory; a mask or another file there is replaced."""
    image = case["image"]
    place = image if is_path(image) else getattr(image, "meta", {}).get("filename_or_obj")
    if place:
        check_places([Job({"case": "", "image": place}, output)], [], overwrite=True)


def _given(image: Any, affine: Any, spacing: Any) -> Any:
    """A path as it is, an image in memory as a volume."""
    if not is_path(image):
        return volume_of(image, affine, spacing)
    check_own_grid(image, affine, spacing)
    return image


def _check_output(image: Any, output: str | os.PathLike[str] | None, output_type: str) -> OutputType:
    if output_type not in OUTPUT_TYPES:
        raise ValueError(f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}.")
    kind = OUTPUT_TYPES[output_type]
    if output is not None and not str(output).lower().endswith(kind.suffixes):
        raise ValueError(f"{output} must end in {' or '.join(kind.suffixes)}: masks are written as {output_type}.")
    if output_type != "nifti" and not is_path(image):
        raise ValueError(f"{output_type} refers to files of a DICOM series, but the image is in memory: give its path.")
    return kind
