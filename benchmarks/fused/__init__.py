# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Training that sees the fusion of the views as testing does, and learned weights: ``python -m benchmarks.fused``."""
