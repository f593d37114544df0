"""Small modules and functions: a file over 400 lines or a function over 50 wants to be two."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE_LINES = 400
FUNCTION_LINES = 50
GENERATED = {"labextension/src/api/schema.gen.ts"}

#: Larger, each with the reason; what no longer needs to be here fails too.
LARGER_FILES = {
    "jupyter_offload/api/models.py": "the one definition of the wire types: declarations, read from top to bottom",
}
LARGER_FUNCTIONS = {
    ("labextension/src/cells/__tests__/fakes.ts", "cluster"): "one literal: a cluster as the API gives it",
    ("labextension/src/views/cards/CardButtons.tsx", "CardButtons"): "a row of buttons as markup, one after the other",
    ("labextension/src/views/dialogs/WorkersFields.tsx", "WorkersFields"): "a form as markup",
    ("labextension/src/views/logs/LogView.tsx", "TailText"): "one component's effects beside the state they share",
    ("labextension/src/views/notebook/describe.ts", "describe"): "one table of states and their sentences",
}

#: Prints [file, name, lines] of each function that is too long; lines of functions inside it count as theirs.
_TYPESCRIPT = """
const ts = require(process.argv[1]), fs = require('fs');
const found = [];
for (const file of JSON.parse(fs.readFileSync(0, 'utf8'))) {
  const source = ts.createSourceFile(file, fs.readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true,
    file.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS);
  const line = at => source.getLineAndCharacterOfPosition(at).line;
  const visit = node => {
    let inner = 0;
    ts.forEachChild(node, child => { inner += visit(child); });
    if (!ts.isFunctionLike(node) || !node.body) return inner;
    const lines = line(node.end) - line(node.getStart()) + 1;
    const name = node.name ? node.name.getText() : node.parent.name ? node.parent.name.getText() : '';
    if (lines - inner > LIMIT) found.push([file, name, lines - inner]);
    return lines - 1;
  };
  visit(source);
}
console.log(JSON.stringify(found));
""".replace("LIMIT", str(FUNCTION_LINES))


def own_lines(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each function below a node with its lines, without its docstring and without the functions inside it."""
    for child in ast.iter_child_nodes(node):
        yield from own_lines(child)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    lines = span(node) - sum(span(inner) for inner in outermost(node))
    if ast.get_docstring(node) is not None:
        lines -= span(node.body[0])
    yield node.name, lines


def outermost(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        else:
            yield from outermost(child)


def span(node: ast.AST) -> int:
    return (node.end_lineno or 0) - node.lineno + 1  # type: ignore[attr-defined]


def test_the_measure_itself() -> None:
    source = 'def f():\n    """Two\n    lines."""\n    def g():\n        return 1\n    return g\n'
    assert dict(own_lines(ast.parse(source))) == {"g": 2, "f": 2}


def test_files_are_small(root: Path, tracked: list[Path]) -> None:
    code = [p for p in tracked if p.suffix in (".py", ".ts", ".tsx") and str(p) not in GENERATED]
    assert code
    lines = {str(p): len((root / p).read_text().splitlines()) for p in code}
    too_long = {p: n for p, n in lines.items() if n > FILE_LINES}
    assert set(too_long) == set(LARGER_FILES), too_long


def test_python_functions_are_small(root: Path, tracked: list[Path]) -> None:
    too_long = {
        f"{path}: {name}": lines
        for path in tracked
        if path.suffix == ".py"
        for name, lines in own_lines(ast.parse((root / path).read_text()))
        if lines > FUNCTION_LINES
    }
    assert not too_long


def test_typescript_functions_are_small(root: Path, tracked: list[Path]) -> None:
    compiler = root / "labextension" / "node_modules" / "typescript"
    node = shutil.which("node")
    if node is None or not compiler.is_dir():
        pytest.skip("the frontend's packages are not installed: cd labextension && jlpm install")
    files = [str(p) for p in tracked if p.suffix in (".ts", ".tsx") and str(p) not in GENERATED]
    done = subprocess.run(
        [node, "-e", _TYPESCRIPT, str(compiler)],
        input=json.dumps(files), cwd=root, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    # a test without a name is one scenario told from beginning to end
    tests = ("__tests__", "ui-tests")
    found = {(f, n): lines for f, n, lines in json.loads(done.stdout) if n or not any(t in f for t in tests)}
    assert set(found) == set(LARGER_FUNCTIONS), found
