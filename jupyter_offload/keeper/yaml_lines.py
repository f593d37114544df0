"""YAML as plain data, with the line of every field and with the mistakes that a plain loader hides or stops at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from ..api.models import FieldProblem

#: Where a value stands: keys and list indexes from the top.
Loc = tuple[str | int, ...]
#: Aliases can make a short file enormous; no honest site file comes near this.
MAXIMUM_NODES = 20_000
_MERGE = "tag:yaml.org,2002:merge"


def field_name(loc: Loc) -> str:
    """Return ``profiles[1].memory_bytes`` for ``("profiles", 1, "memory_bytes")``."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


@dataclass
class YamlDocument:
    """Data of a file; ``fatal`` where it could not be read to the end."""

    name: str
    data: Any = None
    lines: dict[Loc, int] = field(default_factory=dict)
    texts: dict[Loc, str] = field(default_factory=dict)
    problems: list[FieldProblem] = field(default_factory=list)
    fatal: bool = False

    def line(self, loc: Loc) -> int:
        """Return the line of a value, or of the nearest thing around it that has one."""
        for length in range(len(loc), -1, -1):
            if loc[:length] in self.lines:
                return self.lines[loc[:length]]
        return 1

    def problem(self, loc: Loc, message: str, hint: str | None = None) -> FieldProblem:
        """Return a mistake at that place."""
        where = field_name(loc) or self.name
        return FieldProblem(field=f"{where} (line {self.line(loc)})", message=message, hint=hint)


class _Refused(Exception):
    """The document has a shape that nobody writes in good faith."""


def load_yaml(content: bytes, name: str) -> YamlDocument:
    """Return the document in ``content``; ``name`` is the file's, for the messages."""
    document = YamlDocument(name)
    try:
        loader = yaml.SafeLoader(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return _fatal(document, line, "The file is not UTF-8 text.", "Save it in the encoding UTF-8.")
    except yaml.YAMLError as error:
        return _not_yaml(document, error)
    try:
        root = loader.get_single_node()
        if root is not None:
            document.data = _Reader(loader, document).read(root, ())
    except yaml.YAMLError as error:
        return _not_yaml(document, error)
    except (_Refused, RecursionError) as error:
        return _fatal(document, 1, f"The file is too deep or too large: {error}.", "Write it without so many aliases.")
    finally:
        loader.dispose()
    return document


def _fatal(document: YamlDocument, line: int, message: str, hint: str) -> YamlDocument:
    document.fatal = True
    document.problems = [FieldProblem(field=f"{document.name} (line {line})", message=message, hint=hint)]
    return document


def _not_yaml(document: YamlDocument, error: yaml.YAMLError) -> YamlDocument:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    line = mark.line + 1 if mark is not None else 1
    hint = "Check the indentation (spaces only), the colons and the quotes in this line and the one before."
    if "'\\t'" in what:
        hint = "Replace the tab by spaces: YAML is indented by spaces only."
    return _fatal(document, line, f"The file is not YAML: {what}.", hint)


class _Reader:
    """Turns nodes into data and notes where each came from."""

    def __init__(self, loader: yaml.SafeLoader, document: YamlDocument) -> None:
        self._loader = loader
        self._document = document
        self._nodes = 0
        self._open: list[yaml.Node] = []

    def read(self, node: yaml.Node, loc: Loc) -> Any:
        self._nodes += 1
        if self._nodes > MAXIMUM_NODES or node in self._open:
            raise _Refused("an alias contains itself" if node in self._open else f"over {MAXIMUM_NODES} values")
        self._document.lines.setdefault(loc, node.start_mark.line + 1)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, loc)
            if isinstance(node, yaml.SequenceNode):
                return [self.read(item, (*loc, index)) for index, item in enumerate(node.value)]
            return self._scalar(node, loc)
        finally:
            self._open.pop()

    def _scalar(self, node: yaml.Node, loc: Loc) -> Any:
        self._document.texts[loc] = node.value
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):  # a date such as 2025-13-40, or a tag we do not know
            return node.value

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[Any, Any]:
        self._note_duplicates(node, loc)
        if any(key.tag == _MERGE for key, _ in node.value):
            self._loader.flatten_mapping(node)
        data: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            inner = (*loc, key)
            self._document.lines[inner] = key_node.start_mark.line + 1
            data[key] = self.read(value_node, inner)
        return data

    def _note_duplicates(self, node: yaml.MappingNode, loc: Loc) -> None:
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key, line = self._key(key_node), key_node.start_mark.line + 1
            if key in first:
                where = field_name((*loc, key))
                self._document.problems.append(
                    FieldProblem(
                        field=f"{where} (line {line})",
                        message=f"{key!r} stands here a second time; the first is in line {first[key]}.",
                        hint="Remove one of the two.",
                    )
                )
            first.setdefault(key, line)

    def _key(self, node: yaml.Node) -> str:
        """Return a key as it was written: ``on`` and ``1`` are names here, not truth and number."""
        return str(node.value) if isinstance(node, yaml.ScalarNode) else "?"
