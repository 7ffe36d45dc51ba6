# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import platform
import signal
from pathlib import Path

import pytest
import torch

from c2f_monai.utils import atomic_write, link_or_copy, remove_leftovers, write_weights_file
from tests.processes import ROOT, run_python

KILLED = """
import os, signal, sys
from c2f_monai.utils import atomic_write
with atomic_write(sys.argv[1]) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.nii.gz"
    with atomic_write(path) as part:
        part.write_text("whole", encoding="utf-8")
        assert part.name.endswith(".a.nii.gz") and not path.exists()
    with pytest.raises(KeyError), atomic_write(path) as part:
        part.write_text("half", encoding="utf-8")
        raise KeyError
    assert path.read_text(encoding="utf-8") == "whole" and os.listdir(path.parent) == ["a.nii.gz"]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_what_a_killed_process_left_is_removed_when_the_file_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert run_python(["-c", KILLED, str(path)], ROOT).returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1
    (tmp_path / f".{platform.node()}-{os.getppid()}.a.txt").write_text("of a process that runs", encoding="utf-8")
    (tmp_path / ".another-1.a.txt").write_text("of another machine", encoding="utf-8")
    with atomic_write(path) as part:
        part.write_text("whole", encoding="utf-8")
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["a.txt", ".another-1.a.txt", f".{platform.node()}-{os.getppid()}.a.txt"]
    )


@pytest.mark.skipif(os.name != "posix", reason="needs process numbers")
def test_leftovers_of_a_folder_are_removed_files_and_folders(tmp_path: Path) -> None:
    ended, running = f".{platform.node()}-4194304", f".{platform.node()}-{os.getppid()}"  # no process has the first
    for name in (f"{ended}.data", f"{running}.data"):
        (tmp_path / name / "images").mkdir(parents=True)
    for name in (f"{ended}.a.csv", f"{running}.a.csv", ".another-4194304.a.csv", ".hidden"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, "b.csv")
    remove_leftovers(tmp_path, "csv")
    assert len(os.listdir(tmp_path)) == 6
    remove_leftovers(tmp_path)
    left = [f"{running}.data", f"{running}.a.csv", ".another-4194304.a.csv", ".hidden"]
    assert sorted(os.listdir(tmp_path)) == sorted(left)
    remove_leftovers(tmp_path / "none")


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("rename"), replace(*names)))
    with atomic_write(tmp_path / "a.txt") as part:
        part.write_text("whole", encoding="utf-8")
    assert done[:2] == ["sync", "rename"]


FULL = """
import resource, sys, torch
from c2f_monai.utils import atomic_write, write_weights_file
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
try:
    write_weights_file({"weight": torch.zeros(100000)}, sys.argv[1])
except OSError as error:
    print(error)
try:
    with atomic_write(sys.argv[1]) as part:
        part.write_bytes(bytes(30000))
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit of the size of files")
def test_a_file_that_has_no_room_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_text("old", encoding="utf-8")
    done = run_python(["-c", FULL, str(path)], ROOT)
    assert done.stdout == 2 * f"[Errno 27] File too large: '{path}'\n"
    assert os.listdir(tmp_path) == ["model.pt"] and path.read_text(encoding="utf-8") == "old"


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        write_weights_file({"weight": torch.arange(3.0)}, tmp_path / name)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_where_links_are_not_allowed_a_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("a required privilege is not held by the client")

    (tmp_path / "ct.nii").write_bytes(b"volume")
    monkeypatch.setattr(Path, "symlink_to", refuse)
    link = link_or_copy(tmp_path / "ct.nii", tmp_path / "images" / "s1.nii")
    assert link.read_bytes() == b"volume" and not link.is_symlink()


def test_what_is_in_the_way_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "lost").symlink_to(tmp_path / "nothing")
    for path, message in (
        ("file/a.csv", "file is a file and no folder"),
        ("file/b/a.csv", "file is a file and no folder"),
        ("lost/a.csv", "lost is a link to nothing and no folder"),
        ("folder", "folder is a folder: give the name of a file"),
    ):
        with pytest.raises(OSError, match=message), atomic_write(tmp_path / path):
            pass
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "lost"]
