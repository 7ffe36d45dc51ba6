# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.chapter <command>``, from the project's folder."""

from __future__ import annotations

import sys

from .declared import DeclarationError

if __name__ == "__main__":
    try:
        from .command import main  # with the methods of tables.yaml
    except DeclarationError as error:
        sys.exit(f"error: {error}")
    sys.exit(main())
