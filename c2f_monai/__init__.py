# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Coarse-to-fine segmentation of small targets in CT, on MONAI.

Numbers in brackets such as "[3.4]" in docstrings are sections, figures and tables of the chapter that the package
implements: Zhou et al., "2D-Based Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans", 2019.
"""

__version__ = "0.1.0"
