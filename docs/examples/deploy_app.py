# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""An app of MONAI Deploy App SDK: a folder with a DICOM series of CT in, a DICOM segmentation out.

    python deploy_app.py --input ct --output seg [--model BUNDLE]

BUNDLE is a folder that ``c2f pack`` wrote; without it, it is the packaged model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Image, Operator, OperatorSpec
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_seg_writer_operator import DICOMSegmentationWriterOperator, SegmentDescription
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator
from monai.deploy.operators.dicom_series_to_volume_operator import DICOMSeriesToVolumeOperator
from monai.deploy.operators.dicom_utils import ModelInfo
from pydicom.sr.codedict import codes

import c2f_monai

CT_SERIES = '{"selections": [{"name": "ct", "conditions": {"Modality": "(?i)CT"}}]}'


class SegmentOperator(Operator):
    """Segments an Image.

    Named input:
        image: (D, H, W) HU with "affine" in its metadata, as ``DICOMSeriesToVolumeOperator`` makes it.

    Named output:
        seg_image: (D, H, W) uint8, what ``DICOMSegmentationWriterOperator`` takes.
    """

    def __init__(self, fragment: Any, *args: Any, segmenter: c2f_monai.Segmenter, **kwargs: Any) -> None:
        self.segmenter = segmenter
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Name the ports."""
        spec.input("image")
        spec.output("seg_image")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Segment one image."""
        image = op_input.receive("image")
        op_output.emit(Image(self.mask_of(image.asnumpy(), image.metadata()), image.metadata()), "seg_image")

    def mask_of(self, volume: np.ndarray, metadata: dict[str, Any]) -> np.ndarray:
        """Mask of a (D, H, W) volume: the affine is of columns, rows and slices, the array's axes in reverse.

        Raises:
            ValueError: for pixels that are no squares, of which the SDK's affine has the two sides exchanged.
        """
        sides = metadata["row_pixel_spacing"], metadata["col_pixel_spacing"]
        if sides[0] != sides[1]:
            raise ValueError(f"pixels of {sides[0]} x {sides[1]} mm are no squares: the SDK's affine is not theirs.")
        return self.segmenter(volume.T, metadata["affine"]).mask.numpy().T


class SegmentApp(Application):
    """Loader, choice of the CT series, its volume, segmentation, DICOM SEG."""

    def compose(self) -> None:
        """Connect the operators."""
        context = Application.init_app_context(self.argv)
        model = context.model_path if Path(context.model_path).exists() else "pancreas"
        segmenter = c2f_monai.Segmenter(model)
        # One segment for each value of the mask, in their order.
        pancreas = SegmentDescription(
            segment_label="pancreas",
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Pancreas,
            algorithm_name="c2f_monai",
            algorithm_version=c2f_monai.__version__,
        )
        once = CountCondition(self, 1)  # without it the folder is read for ever
        load = DICOMDataLoaderOperator(self, once, name="load", input_folder=Path(context.input_path))
        select = DICOMSeriesSelectorOperator(self, name="select", rules=CT_SERIES)
        volume = DICOMSeriesToVolumeOperator(self, name="volume")
        segment = SegmentOperator(self, name="segment", segmenter=segmenter)
        write = DICOMSegmentationWriterOperator(
            self,
            name="write",
            segment_descriptions=[pancreas],
            output_folder=Path(context.output_path),
            model_info=ModelInfo("c2f_monai", segmenter.name, segmenter.signature),
        )
        self.add_flow(load, select, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(select, volume, {("study_selected_series_list", "study_selected_series_list")})
        self.add_flow(volume, segment, {("image", "image")})
        self.add_flow(select, write, {("study_selected_series_list", "study_selected_series_list")})
        self.add_flow(segment, write, {("seg_image", "seg_image")})


if __name__ == "__main__":
    SegmentApp().run()
