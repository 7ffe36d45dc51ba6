# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of slices become stacks of pseudo-HU by patient, and nobody takes neighbors in them for neighbors."""

from __future__ import annotations

import errno
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from c2f_monai.apps.cli import main
from c2f_monai.data import load_datalist, slices
from c2f_monai.data.gray_levels import AIR_HU, FAT_HU, gray_to_hu
from c2f_monai.data.slices import check_single_slices, read_index
from c2f_monai.data.writers import write_nifti

SIZE = (160, 200)


def body(gas: bool = True) -> np.ndarray:
    """HU of an ellipse of fat in air, with skin, an organ, and a pocket of gas in the organ; rows run to the back."""
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    radius = np.hypot((rows - 80) / 60, (columns - 100) / 80)
    hu = np.full(SIZE, -1000)
    hu[radius < 1] = -100
    hu[(radius < 1) & (radius > 0.95)] = 30
    hu[60:100, 40:90] = 120  # left of the middle in the picture: the patient's right
    if gas:
        hu[74:86, 55:70] = -1000
    return hu


def picture(hu: np.ndarray) -> np.ndarray:
    return np.clip(hu, 0, 255).astype(np.uint8)


def test_fat_gas_and_air_are_told_apart() -> None:
    hu = body()
    found = gray_to_hu(picture(hu))
    assert found.dtype == np.int16
    assert np.array_equal(found[hu > 0], hu[hu > 0])
    assert found[0, 0] == found[80, 5] == AIR_HU  # around the body
    assert found[80, 62] == AIR_HU  # gas
    assert found[80, 110] == FAT_HU  # far from everything
    beside = found[80, 91]  # fat beside the organ: such pixels hold both
    assert FAT_HU + 20 < beside < 0


def test_gaps_of_the_skin_let_no_air_in() -> None:
    hu = body(gas=False)
    hu[:40, 80:110][hu[:40, 80:110] == 30] = -100  # 30 pixels without skin
    assert gray_to_hu(picture(hu))[35, 100] == FAT_HU


@pytest.mark.parametrize("value", [0, 200])
def test_plain_pictures_are_no_error(value: int) -> None:
    found = gray_to_hu(np.full((8, 9), value, np.uint8))
    assert np.all(found == (value or AIR_HU))


@pytest.mark.parametrize("gray", [np.zeros((4, 4), np.int16), np.zeros((4, 4, 3), np.uint8)])
def test_other_pictures_are_refused(gray: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"a slice must be \(H, W\) uint8, got"):
        gray_to_hu(gray)


@pytest.mark.parametrize("case", ["cptac_pda_c3l_00189", "acrin_flt_breast_001"])
def test_what_was_clipped_comes_back_near_to_its_hu(shared_data: Path, case: str) -> None:
    """Clipped and stored as JPEG, as the slices of the development data are; what the window shows of the body."""

    def window(values: np.ndarray) -> np.ndarray:
        halved = values.reshape(256, 2, 256, 2).mean((1, 3))
        return np.clip((halved + 100) / 340, 0, 1)[window_of_body]

    volume = np.asarray(nib.load(shared_data / "ct_unlabelled" / f"{case}.nii.gz").dataobj)
    middle = volume.shape[2] // 2
    taken, back = [], []
    for number in (middle - 8, middle, middle + 8):
        hu = volume[:, :, number].T.astype(float)
        file = io.BytesIO()
        Image.fromarray(picture(hu)).save(file, "JPEG", quality=90)
        gray = np.asarray(Image.open(file))
        window_of_body = hu.reshape(256, 2, 256, 2).mean((1, 3)) > -200
        truth = window(hu)
        taken.append(window(gray.astype(float)) - truth)
        back.append(window(gray_to_hu(gray).astype(float)) - truth)
    taken_off, back_off = (np.sqrt(np.mean(np.concatenate(parts) ** 2)) for parts in (taken, back))
    assert back_off < 0.075 and taken_off > 2.5 * back_off


def write_data(folder: Path, patients: dict[str, list[int]]) -> list[str]:
    """Pictures, masks of the organ and an index; returns the options of the command."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    lines = ["file,patient,z_index0,fov"]
    for patient, numbers in patients.items():
        for number in numbers:
            file = f"P{patient}_z{number}.png"
            hu = body()
            hu[0, 0] = number  # tells the slices apart
            Image.fromarray(picture(hu)).save(folder / "images" / file)
            Image.fromarray((hu == 120).astype(np.uint8)).save(folder / "masks" / file)
            lines.append(f"{file},{patient},{number},full")
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    parts = [f"--{kind}={folder / kind}" for kind in ("images", "masks")]
    return ["prepare", "slices", *parts, f"--index={folder / 'index.csv'}", f"--output={folder / 'out'}"]


def test_slices_become_stacks_by_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = write_data(tmp_path, {"0003": [131, 90, 100], "0001": [70], "0002": [80, 81], "0010": [99]})
    assert main(options) == 0
    assert capsys.readouterr().out.splitlines() == [
        "4 patients (folds: 1, 1, 1, 1), 7 slices",
        "neighbors in a stack are none in the body: train one view, slabs of one slice",
        "pixels are stated to be 0.8 mm, slices 1 mm: their true sizes are not known",
        str(tmp_path / "out" / "dataset.json"),
    ]
    content = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert content["slices"] is True and content["labels"]["1"] == "pancreas"
    assert content["stated_spacing_mm"] == [0.8, 0.8, 1.0]
    assert [case["image"] for case in content["training"]] == [
        f"images/{p}.nii.gz" for p in ("0001", "0002", "0003", "0010")
    ]
    assert content["training"][2]["slice_numbers"] == [90, 100, 131]
    image, label = (nib.load(tmp_path / "out" / f"{kind}s" / "0003.nii.gz") for kind in ("image", "label"))
    assert image.shape == label.shape == (SIZE[1], SIZE[0], 3) and nib.aff2axcodes(image.affine) == ("L", "P", "S")
    volume = np.asarray(image.dataobj)
    assert volume[0, 0].tolist() == [90, 100, 131]
    assert np.array_equal(volume[..., 0].T[60:100, 40:50], body()[60:100, 40:50])
    canonical = np.asarray(nib.as_closest_canonical(label).dataobj)
    assert np.nonzero(canonical)[0].mean() > 100  # RAS: the patient's right has large indices where the axis runs left
    assert np.count_nonzero(canonical) == 3 * np.count_nonzero(body() == 120)


def test_every_split_is_one_of_patients(tmp_path: Path) -> None:
    assert main([*write_data(tmp_path, {str(n): [n, n + 9] for n in range(10, 18)}), "--fold-seed", "1"]) == 0
    files = {
        split: {Path(case["image"]).name for case in load_datalist(tmp_path / "out", split, holdout=0.2, fold=1)}
        for split in ("training", "validation", "test")
    }
    assert [len(names) for names in files.values()] == [5, 1, 2] and len(set.union(*files.values())) == 8


def test_slabs_of_several_slices_are_refused(tmp_path: Path) -> None:
    assert main(write_data(tmp_path, {str(n): [n] for n in range(10, 16)})) == 0
    cases = load_datalist(tmp_path / "out", "training")
    check_single_slices(cases, 1)
    check_single_slices([{"image": "volume.nii.gz"}], 3)
    with pytest.raises(
        ValueError, match="stacks of single slices, whose neighbors are none in the body: set in_slices"
    ):
        check_single_slices(cases, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,patient\na.png,1", "without: z_index0"),
        ("", "without: file, patient, z_index0"),
        ("file,patient,z_index0", "index.csv has no rows below its header"),
        ("file,patient,z_index0\na.png,1,x", "z_index0 of a.png must be a whole number, got 'x'"),
        ("file,patient,z_index0\na.png,1,5\nb.png,1,5", r"patient 1 has several slices of the same z_index0: \[5, 5\]"),
        ("file,patient,z_index0\na.png,7,1\nb.png,,2", "row 3: patient must not be blank"),
        ("file,patient,z_index0\na.png,7,1\nb.png, ,2", "row 3: patient must not be blank"),
        ("file,patient,z_index0\na.png,7,1\n\nb.png,8", "row 4: z_index0 must not be blank"),
        ("file,patient,z_index0\na.png,p7,1\nb.png,P7,2", "has the patients p7 and P7: spell them alike"),
        ("file,patient,z_index0\na.png,Jos\u00e9,1\nb.png,Jose\u0301,2", r"'Jos\\xe9' and 'Jose\\u0301': spell them"),
        (
            "file,patient,z_index0\na.png,Jos\u00e9,1\nb.png,JOSE\u0301,2",
            "has the patients Jos.* and JOS.*: spell them",
        ),
        (
            'file,patient,z_index0,fov\na.png,7,1,"full\nb.png,7,2,full',
            "index.csv is no table .* is a quote not closed",
        ),
        (
            "file,patient,z_index0,fov\na.png,7,1," + 200_000 * "x",
            "index.csv is no table .*: field larger than field limit",
        ),
        ("file,patient,z_index0\na.png,7,\u00b2", "z_index0 of a.png must be a whole number"),
        *(
            (f"file,patient,z_index0\na.png,7,1\nb.png,{name},2", "row 3: patient .* cannot name a file")
            for name in ("../../up", "a/b", "a\\b", "C:up", "a*", "a?", "<a", "a>", "a|b", '"a""b"', "a\tb", ".a", "a.")
        ),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "index.csv").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_index(tmp_path / "index.csv")


def test_blanks_around_a_cell_make_no_other_patient(tmp_path: Path) -> None:
    text = "file,patient,z_index0\n a.png,7,1\nb.png,7 , 2\nc.png,P.8,-3\n"
    (tmp_path / "index.csv").write_text(text, encoding="utf-8")
    found = {
        patient: [(row["file"], row["z_index0"]) for row in rows]
        for patient, rows in read_index(tmp_path / "index.csv").items()
    }
    assert found == {"7": [("a.png", "1"), ("b.png", "2")], "P.8": [("c.png", "-3")]}


def test_a_table_saved_by_excel_is_read(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("file,patient,z_index0\na.png,7,1\n", encoding="utf-8-sig")
    assert read_index(tmp_path / "index.csv") == {"7": [{"file": "a.png", "patient": "7", "z_index0": "1"}]}


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le"])
def test_a_table_in_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "index.csv").write_text("file,patient,z_index0\na.png,J\u00fcrgen,1\n", encoding=encoding)
    with pytest.raises(ValueError, match="index.csv is not text in UTF-8: save it as that"):
        read_index(tmp_path / "index.csv")


def break_chunk(path: Path) -> None:
    """A PNG of several blocks of voxels, the second of which has lost its name."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 400), np.uint8)).save(path)
    first, second, *others = path.read_bytes().split(b"IDAT")
    path.write_bytes(b"IDAT".join([first, second + b"\0\0\0\0" + others[0], *others[1:]]))


def test_bad_pictures_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = write_data(tmp_path, {"1": [1, 2]})
    for change, message in (
        (
            lambda path: path.write_bytes(path.read_bytes()[:-200]),
            "P1_z2.png cannot be read as a picture: ",  # Pillow says of it what its decoder came upon
        ),
        (
            lambda path: Image.fromarray(np.zeros((3, 3), np.uint8)).save(path),
            "patient 1 have different shapes: [(3, 3)",
        ),
        (
            lambda path: Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path),
            "8-bit gray picture, but its mode is",
        ),
        (lambda path: Image.fromarray(body() > 0).save(path), "must be an 8-bit gray picture, but its mode is 1."),
        (break_chunk, "P1_z2.png cannot be read as a picture: broken PNG file"),
        (lambda path: path.write_text("no picture", encoding="utf-8"), "P1_z2.png cannot be read as a picture: cannot"),
        (lambda path: path.unlink(), "the index lists P1_z2.png, but there is no"),
    ):
        change(tmp_path / "images" / "P1_z2.png")
        assert main(options) == 1
        assert message in capsys.readouterr().err


def test_a_picture_that_is_too_large_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = write_data(tmp_path, {"1": [1]})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert main(options) == 1
    assert "P1_z1.png cannot be read as a picture: Image size" in capsys.readouterr().err


def as_jpeg(mask: Path) -> None:
    with Image.open(mask) as picture:
        picture.point(lambda value: 255 * value).save(mask, "JPEG")  # Pillow goes by the content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (as_jpeg, r"masks/P1_z2.png holds \d+ gray values \(0, .*, but a mask has 0 and one other: save it without"),
        (lambda mask: Image.fromarray(picture(body())).save(mask), r"P1_z2.png holds 3 gray values \(0, 30, 120\)"),
        (lambda mask: Image.fromarray(np.full(SIZE, 255, np.uint8)).save(mask), r"holds 1 gray values \(255\)"),
        (
            lambda mask: Image.fromarray(picture(body() + 1200)).save(mask),
            r"P1_z2.png holds 2 gray values \(200, 255\)",
        ),
    ],
)
def test_a_mask_has_the_target_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None], message: str
) -> None:
    options = write_data(tmp_path, {"1": [1, 2]})
    change(tmp_path / "masks" / "P1_z2.png")
    assert main(options) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_masks_of_one_bit_and_without_the_target_are_taken(tmp_path: Path) -> None:
    options = write_data(tmp_path, {"1": [1, 2]})
    Image.fromarray(body() == 120).save(tmp_path / "masks" / "P1_z1.png")
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "masks" / "P1_z2.png")
    assert main(options) == 0
    label = np.asarray(nib.load(tmp_path / "out" / "labels" / "1.nii.gz").dataobj)
    assert np.array_equal(label[..., 0].T, body() == 120) and not label[..., 1].any()


@pytest.mark.parametrize("way", ["folder", "link", "absolute"])
def test_a_picture_is_not_its_own_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str], way: str) -> None:
    """Each gray above 0 would be target."""
    options = write_data(tmp_path, {"1": [1]})
    file = tmp_path / "images" / "P1_z1.png"
    Image.fromarray(picture(np.where(body() == 120, 120, 0))).save(file)  # of two values, so that it could be a mask
    if way == "link":
        (tmp_path / "masks" / "P1_z1.png").unlink()
        (tmp_path / "masks" / "P1_z1.png").symlink_to(file)
    elif way == "folder":
        options += [f"--masks={tmp_path / 'masks' / '..' / 'images'}"]
    else:
        (tmp_path / "index.csv").write_text(f"file,patient,z_index0\n{file},1,1\n", encoding="utf-8")
    assert main(options) == 1
    assert "images/P1_z1.png would be both the picture and the mask of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", ["P1_z1.png,2,5", "./P1_z1.png,2,5", "link.png,2,5", "P1_z1.png,1,5"])
def test_a_picture_belongs_to_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str) -> None:
    """One picture of two patients may be trained on and tested."""
    options = write_data(tmp_path, {"1": [1], "2": [2]})
    for kind in ("images", "masks"):
        (tmp_path / kind / "link.png").symlink_to("P1_z1.png")
    with (tmp_path / "index.csv").open("a", encoding="utf-8") as index:
        index.write(row + "\n")
    assert main(options) == 1
    file, patient, number = row.split(",")
    told = (
        f"one picture in two rows, P1_z1.png (patient 1, z_index0 1) and {file} (patient {patient}, z_index0 {number})"
    )
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *((("--spacing", value), f"spacing must be 0.2 to 10 mm, .*, got {value}") for value in ("0", "nan", "inf")),
        (("--spacing", "1e-9"), "spacing must be 0.2 to 10 mm"),
        (("--folds", "1"), "folds must be at least 2, got 1"),
        (("--fold-seed", "-1"), "the seed of the folds must be at least 0, got -1"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert main([*write_data(tmp_path, {"1": [1], "2": [2]}), *words]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_volumes_of_a_data_set_of_another_kind_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = write_data(tmp_path, {"1": [1, 2]})
    (tmp_path / "out" / "labels").mkdir(parents=True)
    (tmp_path / "out" / "labels" / "1.nii.gz").write_text("a label", encoding="utf-8")
    (tmp_path / "out" / "dataset.json").write_text('{"name": "out", "training": []}', encoding="utf-8")
    assert main(options) == 1
    assert "describes a data set of another kind already" in capsys.readouterr().err
    assert (tmp_path / "out" / "labels" / "1.nii.gz").read_text(encoding="utf-8") == "a label"


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize(
    "change",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: Image.fromarray(np.zeros((3, 3), np.uint8)).save(path),
        lambda path: Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path),
    ],
    ids=["missing", "cut off", "other size", "colors"],
)
def test_what_cannot_be_prepared_costs_no_earlier_data_set(
    tmp_path: Path, kind: str, change: Callable[[Path], None]
) -> None:
    options = write_data(tmp_path, {"1": [1], "2": [2, 3]})
    assert main(options) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    change(tmp_path / kind / "P2_z3.png")
    assert main([*options, "--spacing", "0.7"]) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_run_that_stops_leaves_no_description_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the stacks would have another pixel size than it states."""
    options = write_data(tmp_path, {"1": [1], "2": [2]})
    assert main(options) == 0 and (tmp_path / "out" / "dataset.json").is_file()

    def write(path: Path, *volume: np.ndarray) -> None:
        if path.name == "2.nii.gz":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_nifti(path, *volume)

    with monkeypatch.context() as patch:
        patch.setattr(slices, "write_nifti", write)
        assert main([*options, "--spacing", "0.7"]) == 1
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert main([*options, "--spacing", "0.7"]) == 0
    content = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert content["stated_spacing_mm"] == [0.7, 0.7, 1.0] and content["numTraining"] == 2
