"""Whether a site takes work, in words: what was heard, when, and what to do. "Not heard" is never "gone". Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ...api.models import Health, HealthState, Reason, ReasonCode
from ...api.problems import OffloadError, ProblemCode
from .nodes import Heard, NodeView
from .options import KubernetesOptions

_WORKERS_GO_ON = "Workers that run there go on; new ones start when it is back."


@dataclass(frozen=True)
class Sight:
    """What was seen of a site's nodes: ``nodes``, or ``error`` where they could not be seen.

    ``last`` is when the one node of the site was heard before, where it is seen no more.
    """

    nodes: Sequence[NodeView] = ()
    error: OffloadError | None = None
    last: Heard | None = None

    @property
    def denied(self) -> bool:
        """Whether the account may not look at nodes; the site may be well for all that is known."""
        return self.error is not None and self.error.code is ProblemCode.access_denied


def ago(seconds: float) -> str:
    """Return how long ago something was, such as ``12 s ago`` or ``4 min ago``."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} s ago"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days ago"


def health_of(sight: Sight, options: KubernetesOptions, now: float) -> Health:
    """Return the health of a site from what was seen of it ``now`` (seconds since the epoch)."""
    checked = datetime.fromtimestamp(now, UTC)
    if sight.error is not None:
        return _unseen(sight, now).model_copy(update={"checked_at": checked})
    found = _of_virtual(sight, options, now) if options.node is not None else _of_ordinary(sight.nodes, options)
    return found.model_copy(update={"checked_at": checked})


def _heard_at(heard: Heard | None) -> datetime | None:
    return None if heard is None or heard.ready_at is None else datetime.fromtimestamp(heard.ready_at, UTC)


def _last_heard(heard: Heard | None, now: float) -> str:
    if heard is None or heard.ready_at is None:
        return "it was not heard of so far"
    return f"last heard {ago(now - heard.ready_at)}"


def _unseen(sight: Sight, now: float) -> Health:
    error, last = sight.error, sight.last
    assert error is not None
    message = error.message
    if sight.denied:
        message = f"Whether the site is well cannot be seen. {message}"
    elif last is not None and last.ready_at is not None:
        message = f"{message} The site was {_last_heard(last, now)}."
    return Health(state=HealthState.unknown, message=message, hint=error.hint, last_heard_at=_heard_at(last))


def _of_virtual(sight: Sight, options: KubernetesOptions, now: float) -> Health:
    if not sight.nodes:
        return Health(
            state=HealthState.unhealthy,
            message=f"The cluster has no node {options.node!r} now; {_last_heard(sight.last, now)}.",
            hint="Its virtual kubelet registers it when it starts. Virtual nodes there are: kubectl get nodes",
            last_heard_at=_heard_at(sight.last),
        )
    node = sight.nodes[0]
    state, message, hint = _state(node, now)
    return Health(state=state, message=message, hint=hint, last_heard_at=node.last_heard_at)


def _state(node: NodeView, now: float) -> tuple[HealthState, str, str | None]:
    heard, why = _last_heard(node.heard, now), f": {node.message}" if node.message else ""
    if node.ready is None:
        text = f"Nobody knows how node {node.name!r} is{why}; {heard}."
        hint = "The virtual kubelet, or its way to the cluster, is down."
        return HealthState.unknown, text, f"{hint} {_WORKERS_GO_ON}"
    if node.ready is False:
        text = f"Node {node.name!r} is not ready{why}; {heard}."
        hint = "interLink or the site's plugin does not answer its virtual kubelet, which asks every 30 s."
        return HealthState.unhealthy, text, f"{hint} {_WORKERS_GO_ON}"
    if node.zero:
        text = f"Node {node.name!r} says that it has no {' and no '.join(node.zero)}, so that no worker fits."
        hint = "The site's plugin reports none free as none there (interLink issue 558): ask the site to report totals."
        return HealthState.unhealthy, text, hint
    if node.cordoned:
        text = f"Node {node.name!r} is closed for new workers (cordoned)."
        return HealthState.unhealthy, text, f"An administrator opens it: kubectl uncordon {node.name}"
    if node.ping.zero:  # this version of interLink does not apply it, so that pods still go there
        text = f"The site says that it has no {' and no '.join(node.ping.zero)} now; workers may wait long. "
        return HealthState.healthy, f"{text}{heard[:1].upper()}{heard[1:]}.", None
    return HealthState.healthy, f"Last heard {ago(now - node.heard.ready_at)}." if node.heard.ready_at else "", None


def _of_ordinary(nodes: Sequence[NodeView], options: KubernetesOptions) -> Health:
    usable = [n for n in nodes if n.ready and not n.cordoned]
    heard = max((at for n in nodes if (at := n.last_heard_at)), default=None)
    labels = ", ".join(f"{k}={v}" for k, v in (options.node_selector or {}).items()) or "of a virtual node"
    if not nodes:
        message = f"No node has the labels {labels}."
        hint = "Correct options.node_selector, or label nodes: kubectl label node <name> <label>=<value>"
        return Health(state=HealthState.unhealthy, message=message, hint=hint)
    if not usable:
        message = f"None of {len(nodes)} nodes with the labels {labels} takes work now."
        hint = f"See: kubectl get nodes -l {labels.replace(' ', '')}"
        return Health(state=HealthState.unhealthy, message=message, hint=hint, last_heard_at=heard)
    message = "" if len(usable) == len(nodes) else f"{len(usable)} of {len(nodes)} nodes take work."
    return Health(state=HealthState.healthy, message=message, last_heard_at=heard)


def problem_of(sight: Sight, options: KubernetesOptions, now: float) -> Reason | None:
    """Return why no pod would start there now, None if nothing is known against it."""
    if sight.denied:
        return None
    health = health_of(sight, options, now)
    if health.state is HealthState.healthy:
        return None
    code = ReasonCode.node_not_ready
    if sight.error is not None:
        code = ReasonCode.cannot_see
    elif any(n.ready and n.zero for n in sight.nodes):
        code = ReasonCode.no_capacity
    return Reason(code=code, message=health.message, hint=health.hint)
