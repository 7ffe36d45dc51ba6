# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f report``: what the page says, and what a browser makes of it."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c2f_monai.apps.cli import build_parser, main
from c2f_monai.apps.report import ReportCase, render_report, write_report
from c2f_monai.data import read_image
from c2f_monai.visualize import case_pictures
from tests.bundle.volumes import make_volume, write_nifti

SHAPE = (40, 36, 30)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def write_case(folder: Path, name: str, voxels: int = 8) -> Path:
    """An image in ``folder/images`` and its mask, a cube, in ``folder/masks``."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[10 : 10 + voxels, 10 : 10 + voxels, 10 : 10 + voxels] = 1
    for place in ("images", "masks"):
        (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
    write_nifti(folder / "masks" / f"{name}_seg.nii.gz", mask)
    return write_nifti(folder / "images" / f"{name}.nii.gz", make_volume(SHAPE))


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def rows_of(page: Path) -> list[dict[str, str]]:
    """The attributes of the page's rows, in order."""
    found = re.findall(r'<tr id="case-\d+"([^>]*)>', page.read_text(encoding="utf-8"))
    return [{key: html.unescape(value) for key, value in re.findall(r'data-(\w+)="([^"]*)"', row)} for row in found]


def test_worst_first_with_what_the_table_says(tmp_path: Path) -> None:
    for name in ("fine", "cut", "shaky"):
        write_case(tmp_path, name)
    write_case(tmp_path, "empty", voxels=0)
    done = {
        "status": "done",
        "rounds": 3,
        "stop_reason": "converged",
        "ml": 4.096,
        "d_1": 0.9,
        "d_2": 0.95,
        "d_10": 0.99,
    }
    table = [
        {"case": "fine", **done},
        {"case": "shaky", **done, "d_10": 0.7},
        {"case": "cut", **done, "flags": "touches border; not converged"},
        {"case": "empty", **done, "ml": 0.0, "flags": "nothing found"},
        {"case": "broken", "status": "failed", "reason": "broken.nii.gz: the file ends <early>"},
        {"case": "localizer", "status": "skipped", "reason": "one slice"},
    ]
    write_table(tmp_path / "masks" / "cases.csv", table)
    assert main(["report", str(tmp_path / "masks"), "--images", str(tmp_path / "images")]) == 0
    page = tmp_path / "masks" / "report.html"
    rows = rows_of(page)
    assert [row["name"] for row in rows] == ["broken", "empty", "cut", "localizer", "shaky", "fine"]
    assert rows[5] | {"rank": ""} == {
        **{"rank": "", "name": "fine", "status": "done", "ml": "4.096", "rounds": "3", "agreement": "0.99", "dsc": ""},
        **{"hd95": "", "seconds": "", "predicted": "", "flags": "0"},
    }
    text = page.read_text(encoding="utf-8")
    assert "broken.nii.gz: the file ends &lt;early&gt;" in text and "6 cases:\n4 done,\n1 failed,\n1 skipped," in text
    assert text.count('class="has-slices"') == 4


def test_scores_and_seconds_have_columns_where_a_case_has_them(tmp_path: Path) -> None:
    write_case(tmp_path, "a")
    rows = [
        {"case": "a", "status": "done", "dsc": 0.85, "hd95": 4.24, "seconds": 12.34},
        {"case": "b", "status": "done", "dsc": 0.5, "hd95": "", "seconds": 7},
    ]
    write_table(tmp_path / "masks" / "cases.csv", rows)
    page = write_report(tmp_path / "masks", {})
    told = {row["name"]: [row[key] for key in ("dsc", "hd95", "seconds")] for row in rows_of(page)}
    assert told == {"a": ["0.85", "4.24", "12.34"], "b": ["0.5", "", "7.0"]}
    table = tmp_path / "masks" / "cases.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())  # as Excel saves it
    assert rows_of(write_report(tmp_path / "masks", {})) == rows_of(page)
    text = page.read_text(encoding="utf-8")
    assert all(f'<th data-key="{key}"' in text for key in ("dsc", "hd95", "seconds"))
    assert all(f'<td class="number">{value}</td>' in text for value in ("0.850", "4.2", "12.3", "7.0"))
    for row in rows:
        row.update(hd95="", seconds="")
    write_table(tmp_path / "masks" / "cases.csv", rows)
    text = write_report(tmp_path / "masks", {}).read_text(encoding="utf-8")
    assert "HD95" not in text and ">seconds<" not in text


def test_the_page_loads_nothing_and_runs_no_name(tmp_path: Path) -> None:
    bad = "a</script><img src=x onerror=alert(1)>"
    pictures = case_pictures(read_image(write_case(tmp_path, "a")), read_image(tmp_path / "masks" / "a_seg.nii.gz"))
    page = render_report("run", [ReportCase(bad, pictures=pictures)])
    assert "<img src=x" not in page and f'data-name="{html.escape(bad)}' in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 4 and all(source.startswith("data:") for source in sources)


def test_names_of_folders_and_images_of_a_manifest(tmp_path: Path) -> None:
    image = write_case(tmp_path, "p1/ct")
    write_case(tmp_path, "p2/ct")
    content = {"cases": {"p1/ct": {"image": str(image)}}}
    (tmp_path / "masks" / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    page = write_report(tmp_path / "masks", {})
    assert page.read_text(encoding="utf-8").count('class="has-slices"') == 0
    assert main(["report", str(tmp_path / "masks")]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count('class="has-slices"') == 1 and "c2f report FOLDER --images INPUT says where it is" in text
    # Without a table the volume is the mask's: 512 voxels of 8 mm³.
    assert [(row["name"], row["ml"]) for row in rows_of(page)] == [("p1/ct", "4.096"), ("p2/ct", "4.096")]


def test_milliliters_of_a_tilted_gantry_are_those_of_its_voxels(tmp_path: Path) -> None:
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[1, 2] = 5 * np.tan(np.radians(20))
    mask = np.zeros((24, 20, 12), np.uint8)
    mask[2:10, 2:10, 2:6] = 1
    (tmp_path / "masks").mkdir()
    write_nifti(tmp_path / "masks" / "a_seg.nii.gz", mask, affine)
    assert [row["ml"] for row in rows_of(write_report(tmp_path / "masks", {}))] == ["5.12"]  # 256 voxels of 20 mm^3


def test_masks_as_dicom_are_refused_as_by_html(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_case(tmp_path, "a")
    other = tmp_path / "dicom" / "p1" / "a_seg.dcm"
    other.parent.mkdir(parents=True)
    other.touch()
    write_table(tmp_path / "dicom" / "cases.csv", [{"case": "p1/a", "status": "done", "ml": 4.0}])
    assert main(["report", str(tmp_path / "dicom"), "--images", str(tmp_path / "images")]) == 1
    assert f"the report reads masks as nifti, and {other} is DICOM" in capsys.readouterr().err
    assert not (tmp_path / "dicom" / "report.html").exists()
    # Beside masks as nifti a DICOM file, such as a copy, costs nothing but its own row's pictures.
    shutil.copy(tmp_path / "masks" / "a_seg.nii.gz", tmp_path / "dicom")
    assert main(["report", str(tmp_path / "dicom"), "--images", str(tmp_path / "images")]) == 0
    assert "its mask is DICOM, which the report does not read" in (tmp_path / "dicom" / "report.html").read_text(
        "utf-8"
    )


def test_a_case_that_cannot_be_shown_costs_no_other(tmp_path: Path) -> None:
    images = {name: write_case(tmp_path, name) for name in ("a", "b")}
    write_nifti(images["a"], make_volume((8, 8, 8)))
    (tmp_path / "masks" / "c_seg.nii.gz").write_bytes(b"no mask")
    text = write_report(tmp_path / "masks", images).read_text(encoding="utf-8")
    assert "the mask is 40x36x30 voxels and the image 8x8x8: it is another image&#39;s." in text
    assert "c_seg.nii.gz cannot be read as a volume" in text
    assert text.count('class="has-slices"') == 1


def test_a_table_that_is_none_of_cases_is_refused_and_a_ragged_one_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = {name: write_case(tmp_path, name) for name in ("a", "b")}
    table = tmp_path / "masks" / "cases.csv"
    table.write_text("name,ml\na,1.5\n", encoding="utf-8")
    assert main(["report", str(tmp_path / "masks")]) == 1
    assert "cases.csv has no column case; it has name, ml" in capsys.readouterr().err
    table.write_text("case,ml,flags\na,1.5\nb,2.5,,more\n", encoding="utf-8")
    text = write_report(tmp_path / "masks", images).read_text(encoding="utf-8")
    assert "1.5" in text and "2.5" in text


@pytest.mark.parametrize("command", [["report", "masks", "--images"], ["refine"], ["segment"]], ids=lambda c: c[0])
def test_addresses_of_an_archive_stay_as_they_are(command: list[str]) -> None:
    address, more = "dicomweb+https://host/studies/1", [] if command[0] == "report" else ["mask.nii.gz", "o.nii.gz"]
    args = build_parser().parse_args([*command, address, *more[: 2 if command[0] == "refine" else 1]])
    assert (args.images if command[0] == "report" else args.input) == address


def test_a_folder_without_cases_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "holds no masks (<case>_seg.nii.gz) and no cases.csv" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


ACTIONS = """
<script>
(async () => {
  const first = () => document.querySelector("tbody tr").dataset.name;
  const told = [first()];
  for (let click = 0; click < 2; click++) {
    document.querySelector("th[data-key=ml] button").click();
    told.push(first());
  }
  document.getElementById("only-bad").click();
  told.push([...document.querySelectorAll("tbody tr")].filter(row => !row.hidden).length);
  document.querySelector("tr.has-slices").click();
  while (!document.querySelector("dialog").open) await new Promise(resolve => setTimeout(resolve, 10));
  const canvas = document.querySelector("canvas");
  const red = () => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4) count += pixels[i] > pixels[i + 1] + 40;
    return count > 0;
  };
  told.push(document.querySelector("#place").textContent, red());
  document.getElementById("with-mask").click();
  told.push(red());
  document.title = JSON.stringify(told);
})();
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("count", [1, 200])
def test_a_browser_sorts_and_shows_slices_without_an_error(tmp_path: Path, count: int) -> None:
    pictures = case_pictures(read_image(write_case(tmp_path, "a")), read_image(tmp_path / "masks" / "a_seg.nii.gz"))
    cases = [ReportCase(f"case_{n}", ml=float(10 - n % 10), pictures=pictures) for n in range(count)]
    cases[0].flags = ["touches border"]
    page = tmp_path / "report.html"
    page.write_text(render_report("run", cases) + ACTIONS, encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    told = ["--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom"]
    done = subprocess.run(
        [str(CHROMIUM), *options, *told, page.as_uri()], capture_output=True, encoding="utf-8", timeout=120, check=True
    )
    assert "CONSOLE" not in done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    # The flagged one comes first; the least ml is that of case_9, case_19 and so on, of which case_109 comes first.
    least = "case_109" if count > 1 else "case_0"
    assert json.loads(html.unescape(title[1])) == [
        *("case_0", least, "case_0", 1),
        *("axial slice 16 of 30, counted from the feet; the patient's right is on the left", True, False),
    ]


def test_values_that_a_byte_does_not_hold_are_a_target_too(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint16)
    mask[10:18, 10:18, 10:18] = 256
    (tmp_path / "masks").mkdir()
    write_nifti(tmp_path / "masks" / "a_seg.nii.gz", mask)
    assert [row["ml"] for row in rows_of(write_report(tmp_path / "masks", {}))] == ["4.096"]


@pytest.mark.parametrize("content", ["[]", "{", "null"])
def test_a_manifest_that_is_none_is_told_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    write_case(tmp_path, "a")
    (tmp_path / "masks" / "manifest.json").write_text(content, encoding="utf-8")
    assert main(["report", str(tmp_path / "masks")]) == 1
    assert "manifest.json is no record of a folder of masks" in capsys.readouterr().err


def test_a_column_that_only_begins_as_one_of_the_rounds(tmp_path: Path) -> None:
    images = {"a": write_case(tmp_path, "a")}
    write_table(tmp_path / "masks" / "cases.csv", [{"case": "a", "ml": 1.5, "d_1": 0.5, "d_mean": 0.9}])
    assert [row["name"] for row in rows_of(write_report(tmp_path / "masks", images))] == ["a"]


def test_a_page_of_another_program_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_case(tmp_path, "a")
    page = tmp_path / "masks" / "report.html"
    page.write_text("mine", encoding="utf-8")
    for words in (["report", str(tmp_path / "masks")], ["segment", "a.nii", str(tmp_path / "masks"), "--html"]):
        assert main(words) == 1
        assert "report.html exists and was not written by c2f: move it" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == "mine"
    page.unlink()
    assert main(["report", str(tmp_path / "masks")]) == 0 and main(["report", str(tmp_path / "masks")]) == 0
