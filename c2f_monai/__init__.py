# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Coarse-to-fine segmentation of small targets in CT, on MONAI."""

__version__ = "0.2.0"
