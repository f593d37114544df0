"""Helm, from the Go module that ``go.mod`` beside this file names. It runs nothing; charts are rendered and tried with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..golang import GoModule

MODULE = GoModule(
    folder=Path(__file__).parent,
    name="helm",
    programs={"helm": "helm.sh/helm/v3/cmd/helm"},
    versions={"helm.sh/helm/v3/internal/version.version": "helm.sh/helm/v3"},
)


def built() -> bool:
    """Tell whether the program is there."""
    return MODULE.is_built()


def build() -> None:
    """Build the program if it is not there.

    Raises:
        CannotBuild: Go is missing, or it failed.
    """
    MODULE.build()


def up(folder: Path) -> dict[str, Any]:
    """Say where the program is; nothing runs."""
    build()
    return {"part": "helm", "program": str(MODULE.program("helm")), "env": {}}


def down(folder: Path) -> None:
    """Nothing is to be ended."""
