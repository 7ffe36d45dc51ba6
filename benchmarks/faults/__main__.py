# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.faults``, from the project's folder."""

from __future__ import annotations

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
