"""The control plane's programs, from the Go modules that ``go.mod`` beside this file names."""

from __future__ import annotations

from pathlib import Path

from ..golang import GoModule

MODULE = GoModule(
    folder=Path(__file__).parent,
    name="kubernetes",
    programs={
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    },
    versions={"k8s.io/component-base/version.gitVersion": "k8s.io/kubernetes"},
)


def built() -> bool:
    """Tell whether the programs are there, so that ``up`` needs no Go and little time."""
    return MODULE.is_built()


def build() -> None:
    """Build the programs that are not there.

    Raises:
        CannotBuild: Go is missing, or it failed.
    """
    MODULE.build()
