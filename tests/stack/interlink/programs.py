"""interLink's API server and virtual kubelet, from the Go modules that ``go.mod`` beside this file names."""

from __future__ import annotations

from pathlib import Path

from ..golang import GoModule

MODULE = GoModule(
    folder=Path(__file__).parent,
    name="interlink",
    programs={
        "interlink": "github.com/interlink-hq/interlink/cmd/interlink",
        "virtual-kubelet": "github.com/interlink-hq/interlink/cmd/virtual-kubelet",
    },
    versions={},
)
