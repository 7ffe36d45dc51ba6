# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults that are put into the product on purpose, and what it answers: ``python -m benchmarks.faults``."""
