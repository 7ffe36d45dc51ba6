# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""CT series from a DICOMweb archive, and results back to it, by dicomweb-client: only at addresses that a user names.

Who asks is told by the environment variable ``C2F_DICOMWEB_AUTH`` (``user:password``), or by ``~/.netrc``, as the
requests library reads it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from monai.utils import optional_import

from ..utils import check_extra
from .inputs import DICOMWEB

pydicom, _ = optional_import("pydicom")
web, _ = optional_import("dicomweb_client.web")
session_utils, _ = optional_import("dicomweb_client.session_utils")
uri, _ = optional_import("dicomweb_client.uri")

__all__ = ["AUTH", "fetch_series", "store_files"]

AUTH = "C2F_DICOMWEB_AUTH"


def fetch_series(address: str, folder: str | os.PathLike[str]) -> dict[str, str]:
    """Fetch a series, or the CT series of a study, each into a folder of its own.

    Args:
        address: ``dicomweb+http(s)://host/.../studies/UID``, or with ``/series/UID`` at its end.
        folder: where the folders are made, named by the series' UID.

    Returns:
        The address of each series by its UID.

    Raises:
        MissingPackagesError: without the packages of the extra ``dicom``.
        ValueError: for an address that names no study, or a UID that is none.
        OSError: when the archive cannot be reached or refuses.
        FileNotFoundError: when it holds no such series.
    """
    place, client = _parse(address), _client(address)
    study = place.study_instance_uid
    if place.series_instance_uid:
        series = [place.series_instance_uid]
    else:
        found = client.search_for_series(study, search_filters={"Modality": "CT"})
        series = _uids_of_ct([pydicom.Dataset.from_json(one) for one in found])
    addresses = {}
    for uid in series:
        target = Path(folder) / uid
        target.mkdir(parents=True)
        for number, slice_ in enumerate(client.iter_series(study, uid)):
            path = target / f"{number:05d}.dcm"
            slice_.save_as(path, enforce_file_format=True)
            os.utime(path, (0, 0))  # fetched again it is the same, which a manifest sees by time and size
        if not any(target.iterdir()):
            raise FileNotFoundError(f"{address} holds no instances of the series {uid}.")
        addresses[uid] = f"{DICOMWEB}{place.base_url}/studies/{study}/series/{uid}"
    if not addresses:
        raise FileNotFoundError(f"{address} holds no CT series.")
    return addresses


def store_files(address: str, *paths: str | os.PathLike[str]) -> None:
    """Send DICOM files to an archive (STOW-RS).

    Args:
        address: as for :func:`fetch_series`; its study is that of the files.
        paths: of the files.

    Raises:
        OSError: when the archive cannot be reached or refuses.
    """
    answer = _client(address).store_instances([pydicom.dcmread(path) for path in paths])
    if failed := answer.get("FailedSOPSequence"):
        raise OSError(f"{address} did not store {paths[0]}: reason {failed[0].get('FailureReason')}.")


def _uids_of_ct(found: Sequence[Any]) -> list[str]:
    """UIDs of the CT series in an archive's answer: some archives pass over the filter; a UID becomes a folder's name.

    Raises:
        ValueError: for a UID that is none.
    """
    uids = [str(one.SeriesInstanceUID) for one in found if one.get("Modality", "CT") == "CT"]
    if wrong := [uid for uid in uids if not pydicom.uid.UID(uid).is_valid]:
        raise ValueError(f"the archive names a series {wrong[0]!r}, which is no UID of DICOM.")
    return uids


def _parse(address: str) -> Any:
    check_extra("DICOMweb", "dicom", "dicomweb_client", "pydicom")
    plain = address.removeprefix(DICOMWEB).rstrip("/")
    parts = urlsplit(plain)
    if parts.username or parts.password:
        raise ValueError(f"a password in an address is seen by others: give it in {AUTH} (user:password) or ~/.netrc.")
    try:
        place = uri.URI.from_string(plain)
    except ValueError as error:
        raise ValueError(f"{address} is no address of DICOMweb: {error}") from error
    if place.study_instance_uid is None or place.sop_instance_uid is not None:
        raise ValueError(f"{address} must end in /studies/UID or /studies/UID/series/UID.")
    return place


def _client(address: str) -> Any:
    user, _, password = os.environ.get(AUTH, "").partition(":")
    session = session_utils.create_session_from_user_pass(user, password) if user else session_utils.create_session()
    return web.DICOMwebClient(_parse(address).base_url, session=session)
