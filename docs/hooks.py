# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What mkdocs does not do itself, as its hooks: pages that are made of the sources, and links that leave ``docs/``."""

from __future__ import annotations

import argparse
import ast
import json
import posixpath
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "c2f_monai"
sys.path.insert(0, str(ROOT))  # an extension of mkdocs runs with the path of its program alone

#: Pages whose text lies outside of docs/, by their place in the site.
ELSEWHERE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
    "overlays.md": "configs/README.md",
    "model-card.md": "bundle/docs/README.md",
}
#: Configurations whose values are the defaults.
CONFIGS = ("inference.json", "train.json")
_LINK = re.compile(r"(?<!!)\[([^\]\[]*)\]\(([^)\s]+)\)|!\[([^\]\[]*)\]\(([^)\s]+)\)")
#: A section of the chapter, which is the third of its book, a figure, table or algorithm, in brackets.
_MARK = re.compile(r"(?<=[\[ ])((?:Fig\. |Table |Eq\. )?3\.[1-9]\d?(?:\.[1-9])?)(?=[,;\]][^\[\n]*)")
_ROLE = re.compile(r":(?:py:)?(?:func|class|meth|data|attr|mod|exc):(?=<code>)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    pages = {place: (ROOT / source).read_text(encoding="utf-8") for place, source in ELSEWHERE.items()}
    pages |= {"commands.md": commands_page(), "config-ids.md": config_ids_page(), "errors.md": errors_page()}
    pages |= {"chapter.md": chapter_page(), **api_pages()}
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links between files of the repository into links between pages; of other files the text is left."""
    place = page.file.src_uri
    source = ELSEWHERE.get(place, f"docs/{place}")
    body = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)
    return _LINK.sub(lambda match: _link(match, source, place, files), body)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Take the names of Sphinx's roles away, which docstrings have for other readers."""
    return _ROLE.sub("", html)


def _link(match: re.Match[str], source: str, place: str, files: Files) -> str:
    is_picture = match[0].startswith("!")
    text, target = (match[3], match[4]) if is_picture else (match[1], match[2])
    path, _, anchor = target.partition("#")
    if not path or "://" in target:
        return match[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    pages = {where: there for there, where in ELSEWHERE.items()}
    there = pages.get(file, file.removeprefix("docs/") if file.startswith("docs/") else None)
    if there is None or files.get_file_from_path(there) is None:
        if not (ROOT / file).exists():
            return match[0]  # mkdocs tells of it
        return text
    relative = posixpath.relpath(there, posixpath.dirname(place) or ".")
    return f"{'!' if is_picture else ''}[{text}]({relative}{'#' + anchor if anchor else ''})"


def commands_page() -> str:
    """The help of every command."""
    from c2f_monai.apps.cli import build_parser

    lines = ["# Commands", "", "`c2f`, or `python -m c2f_monai`; what follows is what `--help` prints.", ""]
    for name, parser in _parsers(build_parser(["prepare"]), "c2f"):
        lines += [
            f"{'###' if name.count(' ') > 1 else '##'} {name}",
            "",
            "```text",
            parser.format_help().strip(),
            "```",
            "",
        ]
    return "\n".join(lines)


def _parsers(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    parser.formatter_class = _wide(parser.formatter_class)
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                yield from _parsers(child, f"{name} {word}")


def _wide(formatter: Any) -> Any:
    """The same form of help on any terminal."""
    return lambda prog: formatter(prog, width=110)


def config_ids_page() -> str:
    """The ids of the configurations with what they take, mean and are."""
    from c2f_monai.config import GROUPS

    values = {name: json.loads((ROOT / "bundle" / "configs" / name).read_text(encoding="utf-8")) for name in CONFIGS}
    lines = [
        "# Ids of configurations",
        "",
        "Every id can be set by `--id value` after `python -m monai.bundle run`, or in an overlay. Where a value has a",
        "unit, its meaning names it. The last columns are the values of the two recipes; `$` begins an expression, `@`",
        "another id, and an empty cell says that the id comes with an overlay or has no part there.",
        "",
    ]
    for group, ids in GROUPS.items():
        checked = group != "Components"
        kinds = ["takes"] if checked else []
        lines += [f"## {group}", "", _row("id", *kinds, "meaning", *CONFIGS), "|" + "---|" * (4 + checked)]
        for name, entry in ids.items():
            defaults = [_value(config[name]) if name in config else "" for config in values.values()]
            takes = [_cell(entry.kind.words)] if checked else []
            lines.append(_row(f"`{name}`", *takes, _cell(entry.meaning), *defaults))
        lines.append("")
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, dict) and "_target_" in value:
        return f"`{str(value['_target_']).rsplit('.', 1)[-1]}`"
    text = json.dumps(value)
    text = text[1:-1] if isinstance(value, str) else text
    return f"`{_cell(text if len(text) <= 60 else text[:57] + '...')}`"


def errors_page() -> str:
    """Every message of an error that the package raises, by room; names in braces stand for values."""
    lines = [
        "# Error messages",
        "",
        "Mistakes of input end in one line; `--debug` shows the traceback. These are all the messages that the package",
        "raises itself, with values in braces, where they come from. Look for a few words of yours that are no values.",
        "",
    ]
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path, tree in _sources():
        room = path.relative_to(PACKAGE).parts[0]
        if room.endswith(".py"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = _message(node.exc.args[0])
                if len(re.sub(r"\{[^}]*\}", "", text)) > 12:
                    found[room].setdefault(text, ".".join(path.relative_to(ROOT).with_suffix("").parts))
    for room in sorted(found):
        lines += [f"## {room}", "", "| message | module |", "|---|---|"]
        lines += [_row(_cell(text), f"`{module}`") for text, module in sorted(found[room].items())]
        lines.append("")
    return "\n".join(lines)


def _message(node: ast.expr) -> str:
    """A text, or a text with values as ``{name}``; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            value.value if isinstance(value, ast.Constant) else "{" + ast.unparse(value.value).split("(")[0] + "}"
            for value in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _message(node.left) + _message(node.right)
    return ""


def chapter_page() -> str:
    """Sections of the chapter, and what in the code names them."""
    lines = [
        "# The chapter in the code",
        "",
        "Sections, figures and tables of the chapter, and the classes and functions whose docstrings name them. What",
        "the chapter claims and what came out here: [experiments](experiments.md#what-the-chapter-claims).",
        "",
        "| chapter | code |",
        "|---|---|",
    ]
    found: dict[str, list[str]] = defaultdict(list)
    for path, tree in _sources():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for name, text in _docstrings(tree, module):
            for mark in _MARK.findall(text):
                if name not in found[mark]:
                    found[mark].append(name)
    for mark in sorted(found, key=lambda text: (not text[0].isdigit(), text)):
        lines.append(_row(mark, ", ".join(f"`{name.removeprefix('c2f_monai.')}`" for name in found[mark])))
    return "\n".join(lines) + "\n"


def _docstrings(node: Any, name: str) -> Iterator[tuple[str, str]]:
    yield name, ast.get_docstring(node) or ""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            yield from _docstrings(child, f"{name}.{child.name}")


def api_pages() -> dict[str, str]:
    """A page for each room, with its modules."""
    pages = {"api/c2f_monai.md": "# c2f_monai\n\n::: c2f_monai.apps.segmenter\n\n::: c2f_monai.apps.segmentation\n"}
    modules: dict[str, list[str]] = defaultdict(list)
    for path, tree in _sources():
        parts = path.relative_to(ROOT).with_suffix("").parts
        names = [part for part in parts if part != "__init__"]
        if len(names) > 1 and "cli" not in names and path.name != "__init__.py" and _exports(tree):
            modules[names[1]].append(".".join(names))
    for room, names in modules.items():
        if (PACKAGE / room).is_dir():
            about = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
            body = "\n\n".join(
                f"::: {name}"
                for name in names
                if name not in ("c2f_monai.apps.segmenter", "c2f_monai.apps.segmentation")
            )
            pages[f"api/{room}.md"] = f"# c2f_monai.{room}\n\n{about}\n\n{body}\n"
    return pages


def _exports(tree: ast.Module) -> bool:
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def _sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """A text for a table of Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ").replace("*", "\\*")
