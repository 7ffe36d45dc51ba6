# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from c2f_monai.apps.evaluation import bundle_command


def test_command_line_of_the_evaluation(tmp_path):
    command = bundle_command([tmp_path / "a.json", tmp_path / "b.json"], {"ckpt_path": "m.pt", "fold": None})
    assert command[:4] == ("-m", "monai.bundle", "run", "--config_file")
    assert command[4] == str([str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert command[5:] == ("--ckpt_path", "m.pt", "--fold", "$None")  # a bare None leaves the configuration's value
