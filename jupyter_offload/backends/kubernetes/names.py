"""How what is ours is called in a Kubernetes cluster. Pure.

Names are short, since virtual kubelets and plugins build longer ones from them, which must stay below 63 characters.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from typing import Any

LABEL_PREFIX = "offload.dask.org/"
OWNER = f"{LABEL_PREFIX}owner"
CLUSTER = f"{LABEL_PREFIX}cluster"
WORKER = f"{LABEL_PREFIX}worker"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "jupyter-offload"
#: Annotation with the name that its user gave the cluster.
CLUSTER_NAME = f"{LABEL_PREFIX}cluster-name"
#: Annotation of interLink's virtual kubelet: the number that the site gave.
JOB_ID = "JobID"
_ALPHABET = string.ascii_lowercase + string.digits


def new_worker() -> str:
    """Return the name of a new worker, which no other one has."""
    return "w" + "".join(secrets.choice(_ALPHABET) for _ in range(10))


def object_name(worker: str) -> str:
    """Return the name of a worker's pod and Secret, at most 25 characters."""
    return f"offload-{worker}"


def labels(owner: str, cluster: str, worker: str) -> dict[str, str]:
    """Return the labels of a worker's pod and Secret."""
    return {OWNER: owner, CLUSTER: cluster, WORKER: worker, MANAGED_BY: MANAGER}


def selector(**values: str) -> str:
    """Return a label selector; ``owner`` and ``cluster`` are our labels."""
    return ",".join(f"{LABEL_PREFIX}{name}={value}" for name, value in values.items())


def worker_of(made: Mapping[str, Any]) -> str | None:
    """Return the worker that a pod or Secret belongs to, None for what is not ours."""
    found = (made["metadata"].get("labels") or {}).get(WORKER)
    return str(found) if found else None


def cluster_of(made: Mapping[str, Any]) -> str | None:
    """Return the cluster that a pod or Secret belongs to, None for what is not ours."""
    found = (made["metadata"].get("labels") or {}).get(CLUSTER)
    return str(found) if found else None
