"""What an administrator writes under ``options`` of a Kubernetes site; users can set none of it.

Every mistake is said at once, as ``FieldProblem`` with the place in the file and what to write instead.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from ...api.models import Model, Seconds, SiteDefinition
from ...api.problems import BadInput, ProblemCode
from .option_mistakes import of_the_whole, problem_of

#: Where the discovered nodes come from; the only kind there is.
VIRTUAL_NODES = "virtual-nodes"

# Syntax of labels, annotations and taints: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\Z")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_NODE = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
#: Words of a command that every plugin carries through have nothing that a shell reads.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/-]+\Z")


def _key(key: str) -> str:
    if not _KEY.match(key):
        raise ValueError(f"{key!r} is no name of a label or annotation; write for example 'example.org/pool'")
    return key


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} is no absolute path; write for example '/cvmfs'")
    return path


def _plain(path: str) -> str:
    if not _PLAIN_PATH.match(path) or ".." in path.split("/"):
        raise ValueError(f"{path!r} is no plain absolute path; use letters, digits, '.', '_', '-' and '/' only")
    return path.rstrip("/")


def _kubeconfig(path: str) -> str:
    if not path.startswith(("/", "~")):
        raise ValueError(f"{path!r} depends on where the keeper was started; write '/path' or '~/path'")
    return path


def _namespace(name: str) -> str:
    if not _NAMESPACE.match(name):
        raise ValueError(f"{name!r} is no namespace; use lower-case letters, digits and '-', at most 63")
    return name


def _node(name: str) -> str:
    if not _NODE.match(name):
        raise ValueError(f"{name!r} is no name of a node; see: kubectl get nodes")
    return name


Key = Annotated[str, AfterValidator(_key)]
Keys = dict[Key, str]
Kubeconfig = Annotated[str, AfterValidator(_kubeconfig)]
Namespace = Annotated[str, AfterValidator(_namespace)]
Patience = Annotated[Seconds, Field(ge=1)]


class Toleration(Model):
    """A taint that the workers tolerate, as Kubernetes writes it."""

    key: Key | None = Field(default=None, description="of the taint; null = any, with operator 'Exists'")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="'Equal' compares the value too")
    value: str | None = Field(default=None, description="of the taint, for 'Equal'")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="null = every effect"
    )

    @model_validator(mode="after")
    def _sensible(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("'Exists' compares no value; delete value, or write operator: Equal")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("'Equal' needs a key; write key: ..., or operator: Exists")
        return self

    def as_kubernetes(self) -> dict[str, str]:
        """Return it as in a pod."""
        return self.model_dump(exclude_none=True)


class HostPath(Model):
    """A folder of the site that the workers see, at the same place."""

    path: Annotated[str, AfterValidator(_absolute)] = Field(
        description="absolute, the same at the site and for the worker"
    )
    read_only: bool = Field(default=True, description="whether workers can only read it")


class Deadlines(Model):
    """How long a worker may stay in a stage before it is given up, and its deletion before it is said to be left."""

    scheduled_s: Patience = Field(default=60, description="until a node is chosen")
    accepted_s: Patience = Field(default=30, description="until the site gives it a number (JobID)")
    queued_s: Patience = Field(default=86400, description="in the site's own queue")
    connected_s: Patience = Field(default=180, description="from its start until the scheduler reached it")
    deleted_s: Patience = Field(default=600, description="until the site confirms a deletion")


class Storm(Model):
    """When workers that end at once are no longer replaced."""

    failures: int = Field(default=4, ge=1, le=1000, description="of workers in a row, without one that connected")
    within_s: Patience = Field(default=300, description="in this time")


class KubernetesOptions(Model):
    """``options`` of a site with the backend ``kubernetes``. Exactly one of node, node_selector and discover is set."""

    node: Annotated[str, AfterValidator(_node)] | None = Field(default=None, description="name of one virtual node")
    node_selector: Keys | None = Field(
        default=None, min_length=1, description="labels of ordinary nodes; their taints need tolerations"
    )
    discover: Literal["virtual-nodes"] | None = Field(
        default=None, description="a site for each virtual node of the cluster, named after it"
    )
    kubeconfig: Kubeconfig | None = Field(
        default=None, description="path; null = the account of this pod if there is one, else the user's own kubeconfig"
    )
    context: str | None = Field(default=None, description="of the kubeconfig; null = its current one")
    namespace: Namespace | None = Field(default=None, description="where the pods are; null = that of the account")
    annotations: Keys = Field(default={}, description="of every pod; some are run as shell at the site")
    profile_annotations: dict[str, Keys] = Field(
        default={}, description="by profile; they win over annotations of the same name"
    )
    tolerations: list[Toleration] = Field(default=[], description="besides those that a virtual node itself asks for")
    host_paths: list[HostPath] = Field(default=[], description="folders of the site that workers see")
    accelerator_models: dict[Key, str] = Field(
        default={}, description="models by resource, where the node does not say, such as nvidia.com/gpu: A100"
    )
    mount_path: Annotated[str, AfterValidator(_plain)] = Field(
        default="/run/offload", description="where a worker finds its files"
    )
    unreachable_toleration_s: Seconds = Field(
        default=3600, description="how long a worker outlives a node that is not heard"
    )
    deadlines: Deadlines = Field(default=Deadlines(), description="of each stage of a worker")
    storm: Storm = Field(default=Storm(), description="when failing workers are no longer replaced")
    lifetime_margin_s: Seconds = Field(default=120, description="a worker ends this long before its walltime")

    def annotations_of(self, profile: str) -> dict[str, str]:
        """Return the annotations of a pod of this profile."""
        return {**self.annotations, **self.profile_annotations.get(profile, {})}

    def kubeconfig_path(self) -> Path | None:
        """Return the kubeconfig that the file names, without ``~``."""
        return Path(self.kubeconfig).expanduser() if self.kubeconfig is not None else None


def read_options(site: SiteDefinition) -> KubernetesOptions:
    """Return the options of a site.

    Raises:
        BadInput: ``errors`` lists every mistake, each with the place in the file and the remedy (``invalid``).
    """
    problems = of_the_whole(site)
    options = None
    try:
        options = KubernetesOptions.model_validate(site.options)
    except ValidationError as error:
        problems = [problem_of(e, KubernetesOptions) for e in error.errors(include_url=False)] + problems
    if problems or options is None:
        fields = ", ".join(dict.fromkeys(p.field for p in problems))
        raise BadInput(
            ProblemCode.invalid, f"The options of site {site.name!r} are wrong: {fields}.",
            field=problems[0].field, hint=problems[0].hint, errors=problems,
        )  # fmt: skip
    return options
