# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Coarse-to-fine segmentation of small targets in CT, on MONAI.

A number in brackets, such as [3.4], is a section of the chapter that the package follows: Zhou et al., "2D-Based
Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans", Springer 2019.
"""

__version__ = "0.2.0"
