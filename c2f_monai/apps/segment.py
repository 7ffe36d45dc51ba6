# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``segment``: images to masks, with what a reader may ask for beside them."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..data import Manifest, open_inputs
from ..data.inputs import is_dicomweb
from ..data.writers import write_nifti
from ..handlers.case_rows import case_row
from ..handlers.case_table import CaseTable
from ..metrics.target import target_statistics
from ..utils import describe_machine, describe_versions, end_on_signals, leave_if_signaled, torch_device, voxel_volume
from ..visualize import save_overlay
from .evaluation import CASES_FILE
from .model_config import model_ids
from .outputs import (
    MADE_BY,
    OUTPUT_TYPES,
    Job,
    OutputType,
    check_places,
    check_type,
    is_one_file,
    made_here,
    plan_jobs,
    write_json,
)
from .report import check_page, images_by_case, write_report
from .segmentation import Segmentation, case_line, round_lines
from .segmenter import Segmenter
from .shards import left_to_share, shard_folder, take_in_shards

__all__ = ["run"]


def run(args: argparse.Namespace) -> None:
    """Check input, places and model, then segment case by case.

    Raises:
        OSError: when a file does not exist or a place cannot be written to.
        ValueError: when an image cannot be used, or arguments do not fit.
    """
    end_on_signals()
    if args.device is not None:
        torch_device(args.device)
    kind = OUTPUT_TYPES[args.output_type]
    _check_options(args, kind)
    whole = args.output
    if args.shard is not None:
        args.output = shard_folder(whole, args.shard)
    with open_inputs(args.input, args.shard) as listed:
        cases = check_type(listed, kind)
        wanted = [case for case in cases if "skipped" not in case]
        jobs = plan_jobs(wanted, args.output, kind.suffixes, args.preview, args.probabilities, args.uncertainty)
        check_places(jobs, [path for path in (args.statistics, args.report) if path is not None], args.overwrite)
        progress = not args.quiet
        ids = model_ids(args.option)
        segmenter = Segmenter(args.model, args.device, args.fast, args.config, progress, ids, args.engine)
        kind.check(segmenter.values, segmenter.origin)
        command = _Command(args, kind, segmenter)
        if args.shard is not None:
            cases = left_to_share(command.manifest_in(whole), cases)
            left = {case["case"] for case in cases}
            jobs = [job for job in jobs if job.name in left]
        with command.report_at_the_end(images_by_case(cases)):
            command.segment(cases, jobs)


def _check_options(args: argparse.Namespace, kind: OutputType) -> None:
    """Refuse what is about a folder of masks where there is none, or about all cases where there is a share of them.

    Raises:
        ValueError: for these.
    """
    for option in ("html", "shard"):
        if getattr(args, option) and is_one_file(args.output, kind.suffixes):
            raise ValueError(f"--{option} is about a folder of masks, and {args.output} is one file: give a folder.")
    if args.html and args.output_type != "nifti":
        raise ValueError(f"--html reads masks as nifti, and {args.output_type} was asked for: leave one of them out.")
    if args.store and (args.output_type == "nifti" or not is_dicomweb(args.input)):
        raise ValueError(
            "--store sends DICOM back to an archive: give a dicomweb+ address and --output-type dicom-seg."
        )
    if args.html and args.shard:
        raise ValueError("--html shows all cases, --shard segments some: call c2f report when all shares are done.")
    if args.html:
        check_page(args.output)


def _ending(kind: OutputType) -> str:
    return f"_seg{kind.suffixes[0]}"


class _Command:
    """The cases of one command line."""

    def __init__(self, args: argparse.Namespace, kind: OutputType, segmenter: Segmenter) -> None:
        self.args, self.kind, self.segmenter = args, kind, segmenter
        self.manifest = self._manifest()
        self.noted = {} if self.manifest is None else self.manifest.beside()
        self.statistics = self._begin(args.statistics, {})
        self.report = self._begin(args.report, _setting(args, segmenter))

    @contextmanager
    def report_at_the_end(self, images: Mapping[str, Path]) -> Iterator[None]:
        """Write the page of the folder, where it is asked for, also where a case's error ends the run."""
        try:
            yield
        except Exception:
            with suppress(ValueError):  # no case: the first error is the one to tell
                self._write_page(images)
            raise
        self._write_page(images)

    def _write_page(self, images: Mapping[str, Path]) -> None:
        if self.args.html:
            window = self.segmenter.config.get_parsed_content("window")
            self._say(str(write_report(self.args.output, images, window)))

    def _manifest(self) -> Manifest | None:
        """That of a folder of masks; a mask in a file of its own needs none, and is always made again."""
        output = self.args.output
        if is_one_file(output, self.kind.suffixes):
            return None
        manifest = self.manifest_in(output)
        manifest.tables.append(CaseTable(output / CASES_FILE, manifest))
        return manifest

    def manifest_in(self, folder: Path) -> Manifest:
        """That of any folder of masks, with the options of this command."""
        # Runs of earlier versions and of the bundle wrote nifti, and did not say so.
        form = {} if self.args.output_type == "nifti" else {"output_type": self.args.output_type}
        options, files = {**self.segmenter.options, **form}, self.segmenter.files
        return Manifest(folder, options, files, self.args.overwrite, self.args.strict, ending=_ending(self.kind))

    def segment(self, cases: Sequence[dict[str, Any]], jobs: Sequence[Job]) -> None:
        """Segment what is not done.

        Raises:
            ValueError: when a case failed.
        """
        if self.args.fast and not self.segmenter.fast:
            self._say(f"{self.segmenter.device} has no bfloat16: computing in float32.")
        if self.args.shard is not None:
            number, shares = self.args.shard
            self._say(f"share {number} of {shares}: {len(jobs)} cases")
        try:
            self._segment(jobs, self._plan(cases, jobs))
            failure = "" if self.manifest is None else self.manifest.failure()
        finally:
            if self.manifest is not None:
                self.manifest.close()
        if failure:
            raise ValueError(failure)

    def _segment(self, jobs: Sequence[Job], todo: Sequence[Job]) -> None:
        if len(todo) < len(jobs):
            self._say(f"{len(jobs) - len(todo)} of {len(jobs)} cases are done already.")
        since = time.perf_counter()
        results = self.segmenter.each_case(
            [dict(job.case) for job in todo],
            probability=self.args.probabilities is not None or self.args.uncertainty is not None,
            keep_image=self.args.preview is not None or self.statistics is not None,
        )
        for number, (job, result) in enumerate(zip(todo, results, strict=True), 1):
            leave_if_signaled()
            try:
                if isinstance(result, Exception):
                    raise result
                self._keep(job, result)
                seconds = time.perf_counter() - since
                self._note(job, result, seconds)
                count = f"[{number}/{len(todo)}] " if len(todo) > 1 else ""
                self._say(count + case_line(job.name, result, seconds, job.mask))
                if self.args.verbose:
                    self._say("\n".join(round_lines(result)))
            except Exception as error:
                self._fail(job, error)
            since = time.perf_counter()

    def _plan(self, cases: Sequence[dict[str, Any]], jobs: Sequence[Job]) -> Sequence[Job]:
        if self.manifest is None:
            return jobs
        whole = {job.name for job in jobs if self._is_whole(job)}
        todo = {case["case"] for case in self.manifest.plan(cases, whole)}
        if not (self.args.overwrite or self.args.shard):
            beside = {job.name for job in jobs if self._is_whole(job, but_mask=True)}
            taken = take_in_shards(self.manifest, cases, todo & beside, self.manifest_in)
            if taken:
                self._say(f"{len(taken)} cases taken in from shares.")
            todo -= taken
        self.manifest.begin()
        return [job for job in jobs if job.name in todo]

    def _is_whole(self, job: Job, but_mask: bool = False) -> bool:
        """Whether all that is asked for is there and, but for a share's case, of the run that made the mask."""
        noted = all(content is None or job.name in content["cases"] for content in (self.statistics, self.report))
        whole = noted and all(path.exists() for path in job.files() if not (but_mask and path == job.mask))
        return whole and (but_mask or {*self._beside(job)} <= {*self.noted.get(job.name, ())})

    def _beside(self, job: Job) -> list[str]:
        """What is made of a case beside its mask: files, and that it is stored."""
        files = [path for path in job.files() if path != job.mask]
        tables = [path for path in (self.args.statistics, self.args.report) if path is not None]
        return [os.path.abspath(path) for path in (*files, *tables)] + (["stored"] if self.args.store else [])

    def _keep(self, job: Job, result: Segmentation) -> None:
        self._write(job, result)
        if self.args.store:
            from ..data.dicomweb import store_files

            store_files(job.case["source"], job.mask)
        if self.manifest is not None:
            self.manifest.done(job.name, case_row(result.record, result.mask[None]), beside=self._beside(job))

    def _fail(self, job: Job, error: Exception) -> None:
        if self.manifest is None:
            raise error
        for path, content in ((self.args.statistics, self.statistics), (self.args.report, self.report)):
            if content is not None and content["cases"].pop(job.name, None) is not None:  # of another image
                write_json(path, content)
        self.manifest.fail(job.name, error)

    def _write(self, job: Job, result: Segmentation) -> None:
        """Write the mask last: it says that the case is done."""
        if job.probabilities is not None and result.probability is not None:
            values = np.moveaxis(result.probability.numpy(), 0, -1)
            values = values[..., 0] if values.shape[-1] == 1 else values
            write_nifti(job.probabilities, values, result.affine, f"{self.segmenter.origin.description} probability")
        if job.uncertainty is not None:
            about = f"{self.segmenter.origin.description} uncertainty"
            write_nifti(job.uncertainty, result.uncertainty.numpy(), result.affine, about)
        if result.image is not None:
            image: Any = result.image.float()
            if job.preview is not None:
                window = self.segmenter.config.get_parsed_content("window")
                save_overlay(job.preview, image, result.mask[None], title=job.name, window=window)
            if self.statistics is not None:
                voxel = [float(step) for step in image.pixdim], voxel_volume(image.affine)
                found = target_statistics(result.mask.numpy(), image[0].numpy(), *voxel)
                self.statistics["cases"][job.name] = {**found, **result.record.quality, "flags": result.record.flags}
        self.kind.write(result, job.image, job.mask, self.segmenter.origin)

    def _note(self, job: Job, result: Segmentation, seconds: float) -> None:
        """Bring the files of all cases up to date: a run that is killed leaves them for what was done."""
        if self.statistics is not None:
            write_json(self.args.statistics, self.statistics)
        if self.report is not None:
            record = result.record
            self.report["cases"][job.name] = {
                "image": job.image.name,
                "output": os.path.abspath(job.mask),
                "seconds": round(seconds, 3),
                "ml": result.ml,
                "stop_reason": str(record.stop_reason or ""),
                "quality": record.quality,
                "flags": record.flags,
                "rounds": [asdict(entry) for entry in record.rounds],
            }
            write_json(self.args.report, self.report)

    def _begin(self, path: Path | None, content: dict[str, Any]) -> dict[str, Any] | None:
        """The object of a JSON file; of a folder of masks it goes on with the cases of the last run."""
        if path is None:
            return None
        go_on = self.manifest is not None and not self.args.overwrite and made_here(path)
        known = json.loads(path.read_text(encoding="utf-8"))["cases"] if go_on else {}
        # A case that is done here, and not in this file, is another one there.
        place = os.path.abspath(path)
        kept = {name: of_case for name, of_case in known.items() if place in self.noted.get(name, [place])}
        return {MADE_BY: __version__, **content, "cases": kept}

    def _say(self, text: str) -> None:
        if not self.args.quiet:
            print(text, flush=True)


def _setting(args: argparse.Namespace, segmenter: Segmenter) -> dict[str, Any]:
    """What a result depends on."""
    return {
        "input": args.input if is_dicomweb(args.input) else os.path.abspath(args.input),
        "model": str(args.model),
        "weights": segmenter.weights,
        "signature": segmenter.signature,
        "configs": [str(file) for file in args.config],
        "options": args.option,
        "device": str(segmenter.device),
        "precision": segmenter.precision,
        "engine": segmenter.engine,
        "versions": describe_versions(),
        "machine": describe_machine(),
    }
