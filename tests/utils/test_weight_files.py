# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle
from collections import OrderedDict

import pytest
import torch

from c2f_monai.utils import describe_mismatch, read_weights_file


class Unsafe:
    def __reduce__(self):
        return print, ("code that ran",)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_both_formats_are_read(tmp_path, zipped):
    state = OrderedDict(weight=torch.rand(2, 3), bias=torch.rand(3))
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = read_weights_file(tmp_path / "a.pt")
    assert list(found) == list(state) and all(torch.equal(found[key], value) for key, value in state.items())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_file_is_not_run(tmp_path, capsys, zipped):
    torch.save({"weight": torch.rand(2), "more": Unsafe()}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"a\.pt cannot be read as weights: ") as raised:
        read_weights_file(tmp_path / "a.pt")
    assert "\n" not in str(raised.value) and "code that ran" not in capsys.readouterr().out


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are no weights at .*none\.pt: check the path"):
        read_weights_file(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no weights", encoding="utf-8")
    with pytest.raises(ValueError, match=r"text\.pt cannot be read as weights"):
        read_weights_file(tmp_path / "text.pt")


def test_a_refused_file_comes_without_the_advice_to_load_it_all_the_same(tmp_path):
    torch.save({"weight": Unsafe()}, tmp_path / "code.pt")
    (tmp_path / "code.pkl").write_bytes(pickle.dumps(Unsafe(), protocol=4))
    torch.save(torch.nn.Linear(1, 1), tmp_path / "model.pt")
    for name, detail in (("code.pt", "GLOBAL print"), ("code.pkl", "Unsupported operand"), ("model.pt", "Linear")):
        message = rf"{name} cannot be read as weights: it was not written by torch.save, or holds more .*{detail}"
        with pytest.raises(ValueError, match=message) as raised:
            read_weights_file(tmp_path / name)
        assert "\n" not in str(raised.value) and "weights_only" not in str(raised.value)


def test_a_file_may_be_replaced_by_what_was_read_from_it(tmp_path):
    from c2f_monai.handlers import save_weights

    path = tmp_path / "a.pt"
    torch.save({"weight": torch.arange(4.0)}, path)
    save_weights(read_weights_file(path), path)
    assert torch.equal(read_weights_file(path)["weight"], torch.arange(4.0))


def test_what_differs_is_counted_and_named():
    expected = {"a": (2, 3), "b": (), "c": (1,), "d": (4,)}
    assert describe_mismatch(expected, {key: torch.zeros(shape) for key, shape in expected.items()}) == ""
    found = {"a": torch.zeros(3, 2), "b": torch.zeros(1), "x": torch.zeros(1)}
    assert describe_mismatch(expected, found) == (
        "2 missing (c, d), 1 unexpected (x), 2 of another shape (a: 3x2, not 2x3, b: 1, not scalar)"
    )
    assert describe_mismatch(expected, {}, limit=2) == "4 missing (a, b, ...)"
