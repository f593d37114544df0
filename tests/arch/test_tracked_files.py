"""What must not be in the repository: places of one machine, secrets, what is made."""

from __future__ import annotations

import json
import re
from pathlib import Path

#: Checked out anywhere and built by anybody: nothing may name a place of the machine it was written on.
_PLACES = re.compile(r"/work/(main|shared)\b|/root/|/tmp/brief|\bshared/(facts|recipes|ui|design)")
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]|\bgh[pousr]_[A-Za-z0-9]{30}|\bgithub_pat_\w{30}|\bAKIA[A-Z0-9]{16}\b"
    r"|\bglpat-[\w-]{20}|\bxox[bpas]-\w{10}|\beyJ[\w-]{20,}\.eyJ[\w-]{20,}\."
)
_MADE = re.compile(
    r"(^|/)(node_modules|__pycache__|\.venv|\.mypy_cache|lib/.*\.js$)|\.(pyc|tsbuildinfo|log|sqlite)$|_version\.py$"
)
_LARGE_BYTES = 2 * 2**20
_PUBLIC_REGISTRIES = ("https://registry.npmjs.org/", "https://registry.yarnpkg.com/")


def texts(root: Path, tracked: list[Path]) -> dict[str, str]:
    found = {}
    for path in tracked:
        try:
            found[str(path)] = (root / path).read_text()
        except UnicodeDecodeError:
            continue  # an image
    return found


def test_no_place_of_one_machine(root: Path, tracked: list[Path]) -> None:
    this = str(Path(__file__).relative_to(root))
    named = {p: m[0] for p, text in texts(root, tracked).items() if p != this and (m := _PLACES.search(text))}
    assert not named


def test_no_secrets(root: Path, tracked: list[Path]) -> None:
    assert _SECRETS.search("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE")
    assert _SECRETS.search("token: ghp_" + "a1" * 18)
    this = str(Path(__file__).relative_to(root))
    named = [p for p, text in texts(root, tracked).items() if p != this and _SECRETS.search(text)]
    assert not named


def test_nothing_that_is_made_or_huge(root: Path, tracked: list[Path]) -> None:
    assert not [str(p) for p in tracked if _MADE.search(str(p))]
    assert not [str(p) for p in tracked if (root / p).stat().st_size > _LARGE_BYTES]


def test_lock_files_name_public_registries_only(root: Path, tracked: list[Path]) -> None:
    locks = [p for p in tracked if p.name in ("package-lock.json", "yarn.lock") or p.parts[0] == "requirements"]
    assert any(p.name == "yarn.lock" for p in locks)
    for path in locks:
        text = (root / path).read_text()
        if path.name == "package-lock.json":
            packages = json.loads(text)["packages"].values()
            hosts = [p["resolved"] for p in packages if "resolved" in p]
            assert all(h.startswith(_PUBLIC_REGISTRIES) for h in hosts), path
        else:
            assert not re.search(r"(index-url|resolution:.*https?://|resolved \"https?://(?!registry\.))", text), path
