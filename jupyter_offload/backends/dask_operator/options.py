"""What an administrator writes under ``options`` of a site with the backend ``dask-operator``; users can set none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from ...api.models import Bytes, FieldProblem, Model, Seconds, SiteDefinition
from ...api.problems import BadInput, ProblemCode
from ..kubernetes.option_mistakes import problem_of
from ..kubernetes.options import Keys, Kubeconfig, Namespace, Toleration

Patience = Annotated[Seconds, Field(ge=1)]


class OperatorDeadlines(Model):
    """How long something may take before it is said that it does not happen."""

    operator_s: Patience = Field(default=30, description="until the operator takes up what it is asked")
    scheduler_s: Patience = Field(default=600, description="until the scheduler is ready, or the cluster has failed")


class DaskOperatorOptions(Model):
    """``options`` of a site with the backend ``dask-operator``; all have defaults."""

    kubeconfig: Kubeconfig | None = Field(
        default=None, description="path; null = the account of this pod if there is one, else the user's own kubeconfig"
    )
    context: str | None = Field(default=None, description="of the kubeconfig; null = its current one")
    namespace: Namespace | None = Field(default=None, description="where the clusters are; null = that of the account")
    adopt: bool = Field(
        default=True,
        description="list DaskClusters made by other means, such as KubeCluster(); false where users share the namespace",
    )
    node_selector: Keys = Field(default={}, description="labels of the nodes for schedulers and workers")
    tolerations: list[Toleration] = Field(default=[], description="taints that schedulers and workers tolerate")
    scheduler_cores: int = Field(default=1, ge=1, le=64, description="of a scheduler")
    scheduler_memory_bytes: Bytes = Field(default=2 * 2**30, description="memory limit of a scheduler")
    storm_restarts: int = Field(
        default=3, ge=1, le=1000, description="of one worker, after which the card says that workers fail"
    )
    deadlines: OperatorDeadlines = Field(
        default=OperatorDeadlines(), description="after which something is said not to happen"
    )

    def kubeconfig_path(self) -> Path | None:
        """Return the kubeconfig that the file names, without ``~``."""
        return Path(self.kubeconfig).expanduser() if self.kubeconfig is not None else None


def read_options(site: SiteDefinition) -> DaskOperatorOptions:
    """Return the options of a site.

    Raises:
        BadInput: ``errors`` lists every mistake, each with the place in the file and the remedy (``invalid``).
    """
    problems = []
    if not site.images:
        problems.append(FieldProblem(
            field="images", message="No image is named, and scheduler and workers run in one.",
            hint="Write images: [{name: default, image: ghcr.io/dask/dask:latest}]",
        ))  # fmt: skip
    options = None
    try:
        options = DaskOperatorOptions.model_validate(site.options)
    except ValidationError as error:
        problems += [problem_of(e, DaskOperatorOptions) for e in error.errors(include_url=False)]
    if problems or options is None:
        fields = ", ".join(dict.fromkeys(p.field for p in problems))
        raise BadInput(
            ProblemCode.invalid, f"The definition of site {site.name!r} is wrong: {fields}.",
            field=problems[0].field, hint=problems[0].hint, errors=problems,
        )  # fmt: skip
    return options
