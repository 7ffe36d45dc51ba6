# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``archive``: the raw results of experiments in one file, which is attached to a release and not kept in the tree."""

from __future__ import annotations

import argparse
import gzip
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from c2f_monai import __version__
from c2f_monai.utils import atomic_write, sha256_of

from .part import ROOT

__all__ = ["add_parser", "raw_files", "write_archive"]

DESCRIPTION = """Writes results-VERSION.tar.gz and its checksum, to be attached to the release of that version:
everything that parts left but weights, checkpoints and masks, which come from the commands. The same files give the
same archive."""
#: What is large and comes from the commands, and folders of data and of Snakemake.
_LEFT_OUT = (".pt", ".nii.gz", ".npz", ".part")
_OTHER_FOLDERS = ("data", ".snakemake", "__pycache__")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    summary = "pack the raw results of experiments for a release"
    parser = subparsers.add_parser("archive", help=summary, description=DESCRIPTION)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="outputs of experiments, or records")
    parser.add_argument("--to", type=Path, default=Path("build"), help="where it is written (default: build)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the archive and say how large it is.

    Raises:
        ValueError: When a folder does not exist or holds no results, or two would have the same place.
    """
    path, count = write_archive(args.folders, args.to)
    print(f"{path}: {count} files, {path.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256_of(path)}")
    print(f"Attach it and {path.name}.sha256 to the release v{__version__}; sha256sum --check compares.")


def write_archive(folders: Sequence[Path], target: Path) -> tuple[Path, int]:
    """Write ``results-VERSION.tar.gz`` and ``results-VERSION.tar.gz.sha256``.

    Args:
        folders: outputs of experiments; they lie in the archive as in the project's folder, others by their name.
        target: folder that both are written into.

    Returns:
        The archive, and the number of files in it.

    Raises:
        ValueError: When a folder does not exist or holds no results, or two would have the same place.
    """
    places = [_place(folder) for folder in folders]
    if twice := sorted({str(place) for place in places if places.count(place) > 1}):
        raise ValueError(f"two folders would be {twice[0]} in the archive: rename one.")
    files = [
        (folder / file, place / file) for folder, place in zip(folders, places, strict=True) for file in _raw(folder)
    ]
    path = target / f"results-{__version__}.tar.gz"
    with (
        atomic_write(path) as unfinished,
        unfinished.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file, place in files:
            entry = tarfile.TarInfo((Path(f"results-{__version__}") / place).as_posix())
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(entry, content)
    with atomic_write(path.with_name(f"{path.name}.sha256")) as unfinished:
        unfinished.write_text(f"{sha256_of(path)}  {path.name}\n", encoding="utf-8")
    return path, len(files)


def raw_files(folder: Path) -> Iterator[Path]:
    """Files of an experiment that are archived, by their names from its folder."""
    for path in sorted(folder.rglob("*")):
        file = path.relative_to(folder)
        if path.is_file() and not path.name.endswith(_LEFT_OUT) and not set(file.parts) & set(_OTHER_FOLDERS):
            yield file


def _raw(folder: Path) -> list[Path]:
    found = list(raw_files(folder))
    if not found:
        raise ValueError(f"{folder} holds no results: give the --output of an experiment, or a record.")
    return found


def _place(folder: Path) -> Path:
    whole = folder.resolve()
    return whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else Path(whole.name)
