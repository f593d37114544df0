"""From what a user asked for to what will be started: defaults filled in, limits checked, every violation said at once."""

from __future__ import annotations

from collections.abc import Iterator

from ..api.models import ClusterSpec, FieldProblem, Profile, SiteDefinition
from ..api.problems import BadInput, ProblemCode
from ..api.units import format_bytes, format_duration

#: glibc's own names of its thresholds (bytes), as users know them; ours are set after a fork, so these are passed on.
MALLOC_TRIM, MALLOC_MMAP = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"


def resolve(spec: ClusterSpec, definition: SiteDefinition) -> tuple[ClusterSpec, Profile]:
    """Return the spec with every default filled in, and the worker size that it gives.

    ``cores``, ``memory_bytes``, ``idle_timeout_s`` and ``lifetime_s`` of the spec win over the profile's, within its limits.
    With ``adaptive`` the workers to begin with are moved into its range. Resolving a resolved spec changes nothing.

    Raises:
        BadInput: ``unknown-profile``, ``unknown-image``, or ``limit-exceeded``; ``errors`` lists every violation with value and
            remedy.
    """
    profile = _profile(spec, definition)
    _check_image(spec, definition)
    violations = [*_size(spec, profile), *_workers(spec, profile), *_lifetime(spec, profile), *_allocator(spec)]
    if violations:
        first, rest = violations[0], violations[1:]
        more = f" There {'is 1 more mistake' if len(rest) == 1 else f'are {len(rest)} more mistakes'}." if rest else ""
        raise BadInput(
            ProblemCode.limit_exceeded, first.message + more, field=first.field, hint=first.hint, errors=violations
        )
    size = profile.model_copy(
        update={
            "cores": spec.cores or profile.cores,
            "memory_bytes": spec.memory_bytes or profile.memory_bytes,
        }
    )
    workers = spec.workers
    if spec.adaptive is not None:
        workers = min(max(workers, spec.adaptive.minimum), spec.adaptive.maximum)
    resolved = spec.model_copy(
        update={
            "profile": profile.name,
            "image": spec.image or (definition.images[0].name if definition.images else None),
            "workers": workers,
            "cores": size.cores,
            "memory_bytes": size.memory_bytes,
            "idle_timeout_s": _first(spec.idle_timeout_s, profile.idle_timeout_s, 0),
            "lifetime_s": _first(spec.lifetime_s, _default_lifetime_s(profile)),
        }
    )
    return resolved, size


def _first(*values: int | None) -> int:
    return next(v for v in values if v is not None)


def _default_lifetime_s(profile: Profile) -> int:
    """Return the profile's default, within its own maximum; 0 = no end, for a maximum as for a default."""
    default, most = profile.lifetime_s or 0, profile.maximum_lifetime_s or 0
    return most if most and not 0 < default <= most else default


def _profile(spec: ClusterSpec, definition: SiteDefinition) -> Profile:
    name = spec.profile or definition.default_profile or definition.profiles[0].name
    for profile in definition.profiles:
        if profile.name == name:
            return profile
    message = f"Site {definition.name!r} has no profile {name!r}."
    hint = f"Profiles there: {', '.join(p.name for p in definition.profiles)}."
    problem = FieldProblem(field="profile", message=message, hint=hint)
    raise BadInput(ProblemCode.unknown_profile, message, field="profile", hint=hint, errors=[problem])


def _check_image(spec: ClusterSpec, definition: SiteDefinition) -> None:
    names = [i.name for i in definition.images]
    if spec.image is None or spec.image in names:
        return
    message = f"Site {definition.name!r} has no image {spec.image!r}."
    hint = f"Images there: {', '.join(names)}." if names else "Workers there run the environment; leave the image out."
    problem = FieldProblem(field="image", message=message, hint=hint)
    raise BadInput(ProblemCode.unknown_image, message, field="image", hint=hint, errors=[problem])


def _size(spec: ClusterSpec, profile: Profile) -> Iterator[FieldProblem]:
    cores = max(profile.cores, profile.maximum_cores or 0)
    if spec.cores is not None and spec.cores > cores:
        yield FieldProblem(
            field="cores",
            message=f"{spec.cores} cores for one worker are more than the {cores} of profile {profile.name!r}.",
            hint=f"Ask for at most {cores}, or for more workers.",
        )
    memory = max(profile.memory_bytes, profile.maximum_memory_bytes or 0)
    if spec.memory_bytes is not None and spec.memory_bytes > memory:
        asked, most = format_bytes(spec.memory_bytes), format_bytes(memory)
        yield FieldProblem(
            field="memory_bytes",
            message=f"{asked} for one worker are more than the {most} of profile {profile.name!r}.",
            hint=f"Ask for at most {most} ({memory} bytes).",
        )


def _workers(spec: ClusterSpec, profile: Profile) -> Iterator[FieldProblem]:
    asked = {"workers": spec.workers}
    if spec.adaptive is not None:
        asked = {"adaptive.minimum": spec.adaptive.minimum, "adaptive.maximum": spec.adaptive.maximum}
    for where, number in asked.items():
        if number > profile.maximum_workers:
            yield FieldProblem(
                field=where,
                message=f"{number} workers are more than the {profile.maximum_workers} of profile {profile.name!r}.",
                hint=f"Ask for at most {profile.maximum_workers}.",
            )


def _lifetime(spec: ClusterSpec, profile: Profile) -> Iterator[FieldProblem]:
    most = profile.maximum_lifetime_s or 0
    if most and spec.lifetime_s is not None and not 0 < spec.lifetime_s <= most:
        what = "No end" if spec.lifetime_s == 0 else format_duration(spec.lifetime_s)
        yield FieldProblem(
            field="lifetime_s",
            message=f"{what} is longer than the {format_duration(most)} of profile {profile.name!r}.",
            hint=f"Ask for at most {format_duration(most)} ({most} s).",
        )


def _allocator(spec: ClusterSpec) -> Iterator[FieldProblem]:
    for name in (MALLOC_TRIM, MALLOC_MMAP):
        value = spec.env.get(name)
        if value is not None and not (value.isascii() and value.isdigit()):
            yield FieldProblem(
                field=f"env.{name}",
                message=f"{value!r} is no number of bytes.",
                hint="Write for example 1048576 for 1 MiB, or leave the variable out for our 16 MiB.",
            )
