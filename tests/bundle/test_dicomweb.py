# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A round trip with an Orthanc of its own: a CT is fetched, and its segmentation stored beside it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from c2f_monai.apps.cli import main
from c2f_monai.utils import MissingPackagesError
from tests.bundle.conftest import TINY
from tests.bundle.volumes import make_volume, write_dicom_series

pydicom = pytest.importorskip("pydicom")
web = pytest.importorskip("dicomweb_client.web")

from c2f_monai.data import dicomweb  # noqa: E402
from c2f_monai.data.dicomweb import AUTH, fetch_series, store_files  # noqa: E402

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
LOGIN = "reader:secret"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of its DICOMweb, which asks for a password."""
    program = shutil.which("Orthanc")
    if program is None or not PLUGIN.exists():
        pytest.skip("Orthanc and its DICOMweb plugin are not here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user, password = LOGIN.split(":")
    setting = {
        "StorageDirectory": str(tmp_path / "db"),
        "IndexDirectory": str(tmp_path / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {user: password},
        "Plugins": [str(PLUGIN)],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(setting), encoding="utf-8")
    process = subprocess.Popen([program, str(tmp_path / "orthanc.json")], stderr=subprocess.DEVNULL)
    monkeypatch.setenv(AUTH, LOGIN)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"dicomweb+http://127.0.0.1:{port}/dicom-web"
    finally:
        process.terminate()
        process.wait()


def test_a_ct_is_fetched_and_its_masks_are_stored_beside_it(
    archive: str, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = write_dicom_series(tmp_path / "ct", make_volume(), np.diag([-2.0, -2.0, 2.5, 1]), tags={"0010|0020": "17"})
    study = f"{archive}/studies/1.2.3"
    store_files(study, *series.iterdir())
    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps(TINY), encoding="utf-8")
    model = ["--model", str(tiny_weights), "--config", "three_views.json", "--config", str(overlay), "--device", "cpu"]
    for kind in ("dicom-seg", "rtstruct"):
        words = ["segment", *model, study, str(tmp_path / kind), "--output-type", kind, "--store"]
        assert main(words) == 0
        (mask,) = (tmp_path / kind).glob("*.dcm")
        sent = pydicom.dcmread(mask)
        uid = sent.SeriesInstanceUID
        fetched = fetch_series(f"{study}/series/{uid}", tmp_path / f"back_{kind}")
        assert list(fetched) == [uid]
        back = pydicom.dcmread(tmp_path / f"back_{kind}" / uid / "00000.dcm")
        group = "PerFrameFunctionalGroupsSequence" if kind == "dicom-seg" else "ROIContourSequence"
        assert back[group] == sent[group] and back.FrameOfReferenceUID == "1.2.3.9"
        if kind == "dicom-seg":
            assert back.PixelData == sent.PixelData
        before = mask.read_bytes()
        assert main(words) == 0 and mask.read_bytes() == before  # it is done already
    monkeypatch.delenv(AUTH)
    with pytest.raises(OSError, match="401"):
        fetch_series(study, tmp_path / "none")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("dicomweb+http://a:b@localhost/studies/1.2", "a password in an address is seen by others"),
        ("dicomweb+http://localhost/dicom-web", "must end in /studies/UID"),
        ("dicomweb+http://localhost/studies/abc", "is no address of DICOMweb"),
    ],
)
def test_an_address_that_names_no_study_is_refused(address: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fetch_series(address, tmp_path)


def answer_of(uid: str, *modality: str) -> dict[str, dict[str, object]]:
    """A series as an archive names it."""
    found = pydicom.Dataset()
    found.SeriesInstanceUID = uid
    if modality:
        (found.Modality,) = modality
    return found.to_json_dict()


class Archive:
    """One that passes over the filter of modalities."""

    def __init__(self, *found: dict[str, dict[str, object]]) -> None:
        self.found, self.fetched = found, []

    def search_for_series(self, study: str, search_filters: dict[str, str]) -> tuple[dict[str, dict[str, object]], ...]:
        return self.found

    def iter_series(self, study: str, uid: str) -> Iterator[pydicom.Dataset]:
        self.fetched.append(uid)
        yield SimpleNamespace(save_as=lambda path, enforce_file_format: path.touch())


def test_series_of_other_modalities_are_left_in_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(answer_of("1.2.1", "MR"), answer_of("1.2.2", "CT"), answer_of("1.2.3"), answer_of("1.2.4", "SEG"))
    monkeypatch.setattr(dicomweb, "_client", lambda address: archive)
    assert list(fetch_series("dicomweb+http://host/studies/1.2", tmp_path)) == ["1.2.2", "1.2.3"] == archive.fetched


def test_what_is_no_uid_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(answer_of("1.2.2", "CT"), answer_of("../out", "CT"))
    monkeypatch.setattr(dicomweb, "_client", lambda address: archive)
    with pytest.raises(ValueError, match="names a series '../out', which is no UID of DICOM"):
        fetch_series("dicomweb+http://host/studies/1.2", tmp_path / "in")
    assert not list(tmp_path.iterdir())


def test_without_a_package_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dicomweb_client", None)
    with pytest.raises(MissingPackagesError, match=r'DICOMweb needs dicomweb_client: pip install "c2f-monai\[dicom\]"'):
        fetch_series("dicomweb+http://host/studies/1.2", tmp_path)
