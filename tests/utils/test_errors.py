# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The cause of a chain of errors."""

from __future__ import annotations

import pytest

from c2f_monai.utils.errors import root_cause


def test_a_chain_ends_at_what_failed_first() -> None:
    first = FileNotFoundError("no image at my_ct.nii.gz: check --input.")
    with pytest.raises(RuntimeError) as raised:
        try:
            raise RuntimeError("Failed to instantiate component") from first
        except RuntimeError as error:
            raise RuntimeError("Failed to evaluate 'run'") from error
    assert root_cause(raised.value) is first
    assert root_cause(first) is first
