"""Where the keeper's pod goes and what it is made of, as ``offload/placement.yaml`` in Jupyter's configuration says it."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from ..api.models import Bytes, EnvironmentVariables, Model, Seconds
from ..api.start import SECRET_PREFIXES
from ..backends.kubernetes.options import Key, Toleration
from ..keeper.door import PORT

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")


def _check_namespace(name: str) -> str:
    if not _NAMESPACE.match(name):
        raise ValueError(f"{name!r} is no namespace; use lower-case letters, digits and '-', at most 63")
    return name


def _check_account(name: str) -> str:
    if not _ACCOUNT.match(name):
        raise ValueError(f"{name!r} is no name of a service account; see: kubectl get serviceaccounts")
    return name


def _check_kubeconfig(path: str) -> str:
    if not path.startswith(("/", "~")):
        raise ValueError(f"{path!r} depends on where it is read; write '/path' or '~/path'")
    return path


def _check_cores(cores: float) -> float:
    if not 0.1 <= cores <= 1024:
        raise ValueError(f"{cores} is no number of cores; write for example 2, or 0.5")
    return cores


def _check_environment(variables: dict[str, str]) -> dict[str, str]:
    for name in variables:
        if name.startswith(SECRET_PREFIXES):
            raise ValueError(
                f"{name} may be a secret of the session; everybody who may look at pods could read it here"
            )
    return variables


class Placement(Model):
    """What ``placement.yaml`` may say. Everything has a default inside a pod that a Hub started."""

    namespace: Annotated[str, AfterValidator(_check_namespace)] | None = Field(
        default=None, description="of the keeper's pod; null = that of the server's account"
    )
    image: str | None = Field(default=None, min_length=1, description="null = the image of the server's own pod")
    python: str | None = Field(
        default=None, min_length=1, description="of the image, with this package; null = the server's own, or python3"
    )
    cores: Annotated[float, AfterValidator(_check_cores)] = Field(
        default=2, description="of the pod, for the keeper, schedulers and workers on the site 'local'"
    )
    memory_bytes: Bytes = Field(default=4 << 30, description="of the pod; what needs more is ended by the system")
    volumes: list[dict[str, Any]] | None = Field(
        default=None, description="as in a pod; null = those of the server's pod with the home and the configuration"
    )
    mounts: list[dict[str, Any]] | None = Field(
        default=None, description="volumeMounts as in a pod; given with volumes"
    )
    node_selector: dict[Key, str] = Field(default={}, description="labels of the nodes it may run on")
    tolerations: list[Toleration] = Field(default=[], description="taints that it tolerates")
    service_account: Annotated[str, AfterValidator(_check_account)] | None = Field(
        default=None, description="for sites of the backend kubernetes; null = none, and no token in the pod"
    )
    labels: dict[Key, str] = Field(default={}, description="more labels, such as those that network policies select")
    annotations: dict[Key, str] = Field(default={}, description="more annotations")
    environment: EnvironmentVariables = Field(default={}, description="more environment variables; no secrets")
    idle_s: Seconds = Field(default=600, description="the pod ends after so long without clusters and requests")
    start_timeout_s: Annotated[Seconds, Field(ge=10)] = Field(
        default=300, description="how long the pod may take to come"
    )
    port: Annotated[int, Field(ge=1024, le=65535)] = Field(default=PORT, description="of the pod's door")
    kubeconfig: Annotated[str, AfterValidator(_check_kubeconfig)] | None = Field(
        default=None, description="path; null = the account of the server's pod if there is one, else the user's own"
    )
    context: str | None = Field(default=None, description="of the kubeconfig; null = its current one")

    @model_validator(mode="after")
    def _fits(self) -> Placement:
        _check_environment(self.environment)
        if (self.volumes is None) != (self.mounts is None):
            raise ValueError("volumes and mounts belong together; write both, or neither")
        names = {str(v.get("name")) for v in self.volumes or []}
        for mount in self.mounts or []:
            if mount.get("name") not in names:
                raise ValueError(
                    f"a mount is of the volume {mount.get('name')!r}, which is not under volumes; add it there"
                )
        if any(key.startswith("offload.dask.org/") for key in (*self.labels, *self.annotations)):
            raise ValueError("labels of offload.dask.org are this package's own; choose another prefix")
        return self
