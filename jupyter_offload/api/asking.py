"""From what a person writes to what crosses the socket, and which mistakes they made: shared by the Python doors."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from .client import AsyncKeeperClient
from .models import Cluster, ClusterChange, ClusterList, ClusterRequest, ClusterSpec, Desired, FieldProblem, Model
from .problems import BadInput, NotFound, OffloadError, ProblemCode, Stale, Unavailable
from .text import is_final
from .units import parse_bytes, parse_duration_s

T = TypeVar("T", bound=Model)
#: Fields that people write with a unit, so the unit is not in the name they know.
_SPOKEN = {"memory_bytes": "memory", "idle_timeout_s": "idle_timeout", "lifetime_s": "lifetime"}


def validated(model: type[T], values: Mapping[str, Any]) -> T:
    """Return the model made of these values.

    Raises:
        BadInput: values are wrong; ``errors`` has one entry for each, by the name that people write.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [_problem(model, e["loc"], e["msg"], e.get("input")) for e in error.errors(include_url=False)]
    first = problems[0]
    message = first.message if len(problems) == 1 else "; ".join(p.message for p in problems)
    raise BadInput(ProblemCode.invalid, f"{message.rstrip('.')}.", field=first.field, hint=first.hint, errors=problems)


def spoken(field: str) -> str:
    """Return a field by the name that people write: ``memory`` for ``memory_bytes``."""
    top, dot, rest = field.partition(".")
    return f"{_SPOKEN.get(top, top)}{dot}{rest}"


def _problem(model: type[Model], loc: tuple[int | str, ...], message: str, value: object) -> FieldProblem:
    top = str(loc[0]) if loc else "request"
    field = spoken(".".join([top, *map(str, loc[1:])]))
    known = model.model_fields.get(top)
    message = message.removeprefix("Value error, ")
    what, _, remedy = message.partition("; ")
    if "match pattern" in what and known is not None and known.description:
        what, remedy = f"{value!r} is not allowed", f"use {known.description}"
    elif "should" in what:
        what, remedy = f"{value!r} is not allowed", what.replace("Input should", "It should")
    hint = f"{remedy[0].upper()}{remedy[1:]}." if remedy else None
    return FieldProblem(field=field, message=f"{field}: {what}", hint=hint)


def _parsed(parse: Callable[[object], int], value: object, field: str) -> int:
    try:
        parsed = parse(value)
        if parsed < 0:
            raise ValueError(f"{value!r} is negative; write 0 or more")  # noqa: TRY301  (one form for all mistakes)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        raise BadInput(
            ProblemCode.invalid, f"{field}: {what}.", field=field, hint=f"{remedy[0].upper()}{remedy[1:]}."
        ) from error
    return parsed


def seconds(value: str | float | None, field: str) -> float | None:
    """Return seconds from a number or from text such as ``10 min``; None stays None.

    Raises:
        BadInput: it is no duration.
    """
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0):
        return value
    return _parsed(parse_duration_s, value, field)


def size(value: str | int, field: str) -> int:
    """Return bytes from a number or from text such as ``1 MiB``.

    Raises:
        BadInput: it is no amount of memory.
    """
    return _parsed(parse_bytes, value, field)


def extension(cluster: Cluster, values: Mapping[str, Any], by: str | float | None) -> ClusterChange:
    """Return the change that moves a cluster's end.

    Args:
        cluster: the present record.
        values: ``lifetime_s`` (counted from creation) and ``idle_timeout_s``, where they are to change.
        by: how much later than now planned the lifetime is to end; seconds, or text such as ``1 h``.

    Raises:
        BadInput: nothing to change, no duration, or no planned end that could be moved.
    """
    asked = {k: v for k, v in values.items() if v is not None}
    if by is not None and "lifetime_s" in asked:
        raise BadInput(ProblemCode.invalid, "by: it cannot be given together with lifetime.", field="by",
                       hint="Give 'by' to move the end, or 'lifetime' to set it.")  # fmt: skip
    if by is not None:
        asked["lifetime_s"] = _moved(cluster, by)
    if not asked:
        raise BadInput(ProblemCode.invalid, "lifetime: nothing to change was given.", field="lifetime",
                       hint="Give by, lifetime or idle_timeout, for example '2 h'.")  # fmt: skip
    return validated(ClusterChange, asked)


def _moved(cluster: Cluster, by: str | float) -> int:
    by_s = _parsed(parse_duration_s, by, "by")
    spec = cluster.spec.lifetime_s
    lifetime_s = cluster.profile.lifetime_s if spec is None else spec
    if not lifetime_s:
        raise BadInput(ProblemCode.invalid, f"by: cluster {cluster.name!r} has no planned end that could be moved.",
                       field="by", hint="Set one with lifetime, for example '8 h'.")  # fmt: skip
    return lifetime_s + by_s


async def create(client: AsyncKeeperClient, spec: ClusterSpec) -> Cluster:
    """Create the cluster; a request whose answer was lost is repeated with the same id, so there is never a second one.

    Raises:
        OffloadError: as the keeper raised it.
    """
    request = ClusterRequest(id=uuid.uuid4().hex[:12], spec=spec)
    try:
        return await client.call("createCluster", Cluster, body=request)
    except Unavailable:
        return await client.call("createCluster", Cluster, body=request)


async def extend(
    client: AsyncKeeperClient, cluster_id: str, values: Mapping[str, Any], by: str | float | None
) -> Cluster:
    """Move a cluster's end (see ``extension``); ``by`` counts from what is planned now, so a change in between is read again.

    Raises:
        OffloadError: as the keeper raised it.
    """
    for _ in range(3):
        cluster = await client.call("getCluster", Cluster, id=cluster_id)
        body = extension(cluster, values, by)
        try:
            return await client.call("changeCluster", Cluster, body=body, if_match=cluster.revision, id=cluster_id)
        except Stale as error:
            stale = error
    raise stale


async def stop(client: AsyncKeeperClient, cluster: Cluster) -> Cluster:
    """Ask for the end of a cluster and return its record; one that has ended is left as it is.

    Raises:
        OffloadError: as the keeper raised it.
    """
    while cluster.desired is Desired.running and not is_final(cluster):
        try:
            # Always conditional: a cluster that ended a moment ago would be forgotten by a second DELETE.
            return await client.call("deleteCluster", Cluster, if_match=cluster.revision, id=cluster.id)
        except Stale:
            cluster = await client.call("getCluster", Cluster, id=cluster.id)
    return cluster


async def find(client: AsyncKeeperClient, name: str, *, if_none: str) -> Cluster:
    """Return the cluster of this name or id.

    Args:
        client: asks the keeper.
        name: a name, or an id.
        if_none: the hint for a user who has no cluster at all.

    Raises:
        NotFound: there is none; the hint lists the names there are.
    """
    if not isinstance(name, str) or not name.strip():
        raise BadInput(ProblemCode.invalid, f"name: {name!r} is no name of a cluster.", field="name",
                       hint="Write the name or the id of a cluster.")  # fmt: skip
    try:
        return await client.call("getCluster", Cluster, id=name)
    except NotFound as error:
        try:
            listed = await client.call("listClusters", ClusterList)
        except OffloadError:
            raise error from None
        names = ", ".join(dict.fromkeys(c.name for c in listed.clusters))
        hint = f"There are: {names}." if names else if_none
        raise NotFound(error.code, error.message, field="name", hint=hint, request_id=error.request_id) from None


def free_name(base: str, taken: Iterable[str], *, numbered: bool) -> str:
    """Return ``base`` (or ``base-1`` when ``numbered``) or the first ``base-N`` that nobody has."""
    used = set(taken)
    if not numbered and base not in used:
        return base
    number = 1 if numbered else 2
    while f"{base}-{number}" in used:
        number += 1
    return f"{base}-{number}"
