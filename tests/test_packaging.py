# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What is written in more than one place agrees: versions, pins, requirements, configurations."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import c2f_monai
from c2f_monai.utils import sha256_of

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted([*(ROOT / "bundle" / "configs").glob("*.json"), *(ROOT / "configs").glob("**/*.json")])
OVERLAYS = sorted((ROOT / "configs").glob("**/*.json"))
MAX_OVERLAY_LINES = 60
# A method of its own, with its network, data and handlers.
LONG_OVERLAYS = {"unet3d.json"}
MAX_BUNDLE_LINES = {"train.json": 280, "inference.json": 180}
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def name_of(path: Path) -> str:
    """Path from the project's root, with forward slashes: the id of a test case."""
    return path.relative_to(ROOT).as_posix()


def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(object_pairs_hook=)`: a key that is written twice silently loses its first value."""
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"keys written twice: {twice}")
    return dict(pairs)


def pins(python: str) -> dict[str, str]:
    """Package -> version that constraints.txt asks for on one Python version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    active = [r for r in requirements if r.marker is None or r.marker.evaluate(environment)]
    names = [canonicalize_name(r.name) for r in active]
    assert len(names) == len(set(names)), f"two pins for one package on Python {python}"
    assert all(re.fullmatch(r"==[0-9a-z.]+", str(r.specifier)) for r in active)
    return {name: str(r.specifier)[2:] for name, r in zip(names, active, strict=True)}


def declared_requirements() -> list[Requirement]:
    """Everything that setup.cfg asks for, the extras included; an extra may name another one of the package."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    text = "\n".join([parser["options"]["install_requires"], *parser["options.extras_require"].values()])
    found = [Requirement(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [requirement for requirement in found if requirement.name != parser["metadata"]["name"]]


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    """The bundle's metadata.json."""
    return json.loads((ROOT / "bundle" / "configs" / "metadata.json").read_text(encoding="utf-8"))


def test_the_bundle_has_the_packages_version_and_says_what_changed(metadata: dict[str, Any]) -> None:
    assert metadata["version"] == c2f_monai.__version__
    assert c2f_monai.__version__ in metadata["changelog"]


def test_the_newest_release_in_the_changelog_is_the_packages_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text, flags=re.MULTILINE)
    assert releases[0] == c2f_monai.__version__


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_inside_its_declared_range(python: str) -> None:
    versions = pins(python)
    for requirement in declared_requirements():
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), str(requirement)


def test_python_310_gets_a_numpy_that_exists_for_it() -> None:
    assert pins("3.10")["numpy"].startswith("2.2.")
    assert pins("3.11")["numpy"].startswith("2.4.")


def test_monai_deploy_is_tried_with_the_monai_of_everything_else() -> None:
    lines = (ROOT / ".ci" / "consumers" / "deploy.txt").read_text(encoding="utf-8").splitlines()
    assert f"monai=={pins('3.11')['monai']}" in lines


@pytest.mark.parametrize(("key", "package"), [("monai_version", "monai"), ("pytorch_version", "torch")])
def test_the_bundle_states_the_pinned_versions(metadata: dict[str, Any], key: str, package: str) -> None:
    assert metadata[key] == pins("3.10")[package] == pins("3.11")[package]


def test_the_bundle_states_a_numpy_that_installs_on_every_supported_python(metadata: dict[str, Any]) -> None:
    assert metadata["numpy_version"] == pins("3.10")["numpy"]


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", text, flags=re.MULTILINE) == [c2f_monai.__version__]
    dates = re.findall(
        rf"^## \[{c2f_monai.__version__}\] - (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M
    )
    assert re.findall(r"^date-released: (.*)$", text, flags=re.MULTILINE) == dates


def test_the_image_gets_what_the_wheel_is_made_of() -> None:
    """Its build is not run here: docker fetches a base."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert copied == {
        *("constraints.txt", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"),
        *("bundle", "configs", "c2f_monai"),
    }
    assert all((ROOT / name).exists() for name in copied)
    context = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied == {line[1:] for line in context if line.startswith("!")}
    assert any("grep '^torch=='" in line for line in lines)


def test_package_and_bundle_carry_the_same_license() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert (ROOT / "bundle" / "LICENSE").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_configurations_are_json_objects_without_repeated_keys(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=refuse_duplicates)
    assert isinstance(config, dict) and config


def test_a_repeated_key_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"keys written twice: \['margin'\]"):
        json.loads('{"margin": 20, "margin": 30}', object_pairs_hook=refuse_duplicates)


@pytest.mark.parametrize("path", [path for path in OVERLAYS if path.name not in LONG_OVERLAYS], ids=name_of)
def test_overlays_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_OVERLAY_LINES


def test_weights_are_those_that_the_metadata_names(metadata: dict[str, Any]) -> None:
    """Released weights change only with a version of their own, see ``release-weights``."""
    models = ROOT / "bundle" / "models"
    found = {path.name: sha256_of(path) for path in sorted(models.glob("*.pt"))}
    assert {name: entry["sha256"] for name, entry in metadata["weights"].items()} == found
    assert all(entry["version"] in metadata["changelog"] for entry in metadata["weights"].values())


@pytest.mark.parametrize(("name", "limit"), MAX_BUNDLE_LINES.items())
def test_the_bundles_configurations_stay_readable(name: str, limit: int) -> None:
    lines = (ROOT / "bundle" / "configs" / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) < limit and max(map(len, lines)) <= 120


def places_in_lists(config: Any) -> list[str]:
    """Ids that name an entry of a list by its place, in keys and in references."""
    if isinstance(config, str):
        # An index that Python takes of a value, `@window[0]`, is none.
        return re.findall(r"[@%][\w#:]*(?:#|::)\d+\b", config)
    if isinstance(config, dict):
        keys = [key for key in config if re.search(r"(?:#|::)\d+(?:#|::|$)", key)]
        return keys + [found for value in config.values() for found in places_in_lists(value)]
    return [found for value in config for found in places_in_lists(value)] if isinstance(config, list) else []


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_no_entry_of_a_list_is_named_by_its_place(path: Path) -> None:
    """One that is inserted before it would change what such an id means, without a word."""
    assert places_in_lists(json.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "config",
    [
        {"handlers#2": None},
        {"train#preprocessing#transforms#3#_disabled_": True},
        {"train::handlers::0": None},
        {"a": ["@handlers#1"]},
        {"a": {"b": "$[@postprocessing#transforms#1.values]"}},
        {"a": "%handlers::0"},
    ],
)
def test_a_place_in_a_list_is_noticed(config: dict[str, Any]) -> None:
    assert len(places_in_lists(config)) == 1


def test_an_index_of_a_value_is_no_place_in_a_list() -> None:
    assert places_in_lists({"a": "$@window[0]", "b#c2": "@d#e3"}) == []


@pytest.mark.parametrize("path", OVERLAYS, ids=name_of)
def test_an_overlay_says_first_what_it_does_and_what_comes_before(path: Path) -> None:
    key, text = next(iter(json.loads(path.read_text(encoding="utf-8")).items()))
    assert key == "description" and re.search(r"\b[Aa]fter .*\.json", text)


def test_the_list_of_overlays_is_that_of_their_descriptions() -> None:
    spec = importlib.util.spec_from_file_location("make_readme", ROOT / "configs" / "make_readme.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    assert found == module.readme(), "run python configs/make_readme.py"


def targets_in(config: Any) -> set[str]:
    """Dotted names of what a configuration makes; MONAI finds names without dots in its own components."""
    if isinstance(config, dict):
        own = {str(config["_target_"])} if "." in str(config.get("_target_", "")) else set()
        return own.union(*map(targets_in, config.values()))
    return set().union(*map(targets_in, config)) if isinstance(config, list) else set()


def is_module(name: str) -> bool:
    """Whether a dotted name is one of a module; parents are imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the parent is no package: the name is one of a class or function
        return False


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_no_target_is_also_the_name_of_a_module(path: Path) -> None:
    """From Python 3.12 on `pydoc.locate`, which MONAI asks, gives the module where a function has the same name."""
    targets = targets_in(json.loads(path.read_text(encoding="utf-8")))
    assert [name for name in targets if is_module(name)] == []


def test_a_target_that_is_a_module_is_noticed() -> None:
    config = {"a": [{"_target_": "c2f_monai.handlers.load_weights"}, {"b": {"_target_": "Compose"}}]}
    assert [(name, is_module(name)) for name in targets_in(config)] == [("c2f_monai.handlers.load_weights", True)]
    assert not is_module("c2f_monai.handlers.StrictCheckpointLoader")


def test_handlers_of_training_are_dictionaries_as_they_are_read() -> None:
    """MONAI Label looks at each entry's _target_ before MONAI has put anything in the place of a name."""
    config = json.loads((ROOT / "bundle" / "configs" / "train.json").read_text(encoding="utf-8"))
    assert all(isinstance(entry, dict) and entry.get("_target_") for entry in config["train"]["handlers"])
