# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m c2f_monai <command>``."""

from __future__ import annotations

import sys

from .apps.cli import main

if __name__ == "__main__":
    sys.exit(main())
