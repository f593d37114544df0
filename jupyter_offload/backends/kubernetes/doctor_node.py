"""What the doctor says of a site's nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...api.models import Finding, HealthState
from .health import Sight, ago, health_of
from .nodes import VIRTUAL_LABELS, NodeView
from .options import KubernetesOptions
from .placement import VIRTUAL_TAINT

_REPORT = "docs/how-to/let-a-site-report-gpu-slices.md"
#: The whole answer stands on the node four times; objects are bounded at 1.5 MiB.
PING_LARGE_BYTES = 4096
#: Two heartbeats that did not come.
SLOW_BEAT_S = 120.0


def node_findings(sight: Sight, options: KubernetesOptions, now: float) -> list[Finding]:
    """Return what is to say of the nodes, as seen ``now`` (seconds since the epoch)."""
    health = health_of(sight, options, now)
    if sight.denied:
        return []  # everything works, blind; the findings about rights say so
    if sight.error is not None:
        return [Finding(check="node", state="error", message=health.message, hint=health.hint)]
    worst = {HealthState.healthy: "ok", HealthState.unknown: "warning", HealthState.unhealthy: "error"}[health.state]
    message = health.message or "Well."
    findings = [Finding.model_validate({"check": "node", "state": worst, "message": message, "hint": health.hint})]
    if options.node is not None and sight.nodes:
        findings += _virtual(sight.nodes[0], now)
    if options.node_selector is not None:
        findings += _ordinary(sight.nodes, options)
    return findings


def _virtual(node: NodeView, now: float) -> Iterator[Finding]:
    if not node.virtual:
        text = f"Node {node.name!r} is an ordinary node: it has neither interLink's taint nor its label."
        hint = "Name it by options.node_selector instead, unless it is a virtual node of another kind."
        yield Finding(check="taint", state="warning", message=text, hint=hint)
        return
    yield from _marks(node)
    yield from _heartbeat(node, now)
    yield from _connectivity(node)
    yield _ping(node)


def _marks(node: NodeView) -> Iterator[Finding]:
    if any(t.get("key") == VIRTUAL_TAINT for t in node.taints):
        yield Finding(check="taint", state="ok", message=f"It has the taint {VIRTUAL_TAINT}.")
    else:
        text = f"It lacks the taint {VIRTUAL_TAINT}, so that pods of others may land there."
        hint = f"An administrator runs: kubectl taint node {node.name} {VIRTUAL_TAINT}=true:NoSchedule"
        yield Finding(check="taint", state="warning", message=text, hint=hint)
    label = next((f"{k}={v}" for k, v in VIRTUAL_LABELS if node.labels.get(k) == v), None)
    if label is not None:
        yield Finding(check="label", state="ok", message=f"It has the label {label}.")
    else:
        text = "It has no label of a virtual node; only its taint tells what it is."
        hint = f"An administrator runs: kubectl label node {node.name} {'='.join(VIRTUAL_LABELS[0])}"
        yield Finding(check="label", state="warning", message=text, hint=hint)


def _heartbeat(node: NodeView, now: float) -> Iterator[Finding]:
    if node.heard.beat_at is None:
        hint = "Look at the virtual kubelet's log; it writes one every 30 s to a minute."
        yield Finding(check="heartbeat", state="warning", message="It has no heartbeat.", hint=hint)
        return
    age = now - node.heard.beat_at
    text = f"Its heartbeat changed {ago(age)}, by our own clock."
    if age < SLOW_BEAT_S:
        yield Finding(check="heartbeat", state="ok", message=text)
        return
    hint = "Look at the virtual kubelet's log, and at the site's plugin: a slow ping holds it up."
    yield Finding(check="heartbeat", state="warning", message=text, hint=hint)


def _connectivity(node: NodeView) -> Iterator[Finding]:
    link = node.connectivity
    if link is None:
        text = "This version of interLink does not say whether it reaches its site (it does since 0.5.2)."
        yield Finding(check="interlink", state="ok", message=text)
        return
    said = f"{link.get('reason', '')}: {link.get('message', '')}".strip(": ")
    if str(link.get("status")) == "True":
        short = said.partition(" Response:")[0][:200].rstrip(".")
        yield Finding(check="interlink", state="ok", message=f"interLink reached the site's plugin ({short}).")
        return
    hint = "Look at interLink's API server and the plugin, in this order: curl <InterlinkURL>/pinglink"
    text = f"interLink does not reach the site's plugin: {said[:300]}"
    yield Finding(check="interlink", state="error", message=text, hint=hint)


def _ping(node: NodeView) -> Finding:
    ping = node.ping
    first = ping.text.partition("\n")[0][:60]
    if ping.form in ("absent", "empty", "text"):
        said = {
            "absent": "The node keeps no answer of the site (interLink before 0.5.2)",
            "empty": "The site's last answer was empty or did not come",
            "text": f"The site answers with a table, not with numbers ({first!r})",
        }[ping.form]
        text = f"{said}, so that what is free is unknown and totals are what its operator declared."
        return Finding(check="ping", state="warning", message=text, hint=f"How a site reports numbers: {_REPORT}")
    if ping.zero:
        text = f"The site says that it has no {' and no '.join(ping.zero)}."
        hint = "Its plugin reports none free as none there (interLink issue 558): ask the site to report totals."
        return Finding(check="ping", state="warning", message=text, hint=hint)
    if not ping.tells_free:
        text = "The site does not say how much is free."
        return Finding(check="ping", state="warning", message=text, hint=f"How a site reports it: {_REPORT}")
    if len(ping.text.encode()) > PING_LARGE_BYTES:
        text = f"The site's answer has {len(ping.text.encode())} bytes, and the node keeps it four times."
        return Finding(check="ping", state="warning", message=text, hint="Ask the site to shorten it below 2 kB.")
    return Finding(check="ping", state="ok", message="The site says how large it is and how much is free.")


def _ordinary(nodes: Sequence[NodeView], options: KubernetesOptions) -> Iterator[Finding]:
    tolerated = [t.key for t in options.tolerations]
    for node in (n for n in nodes if n.ready):
        keeps_off = [
            str(t.get("key")) for t in node.taints
            if t.get("effect") in ("NoSchedule", "NoExecute") and t.get("key") not in tolerated and None not in tolerated
        ]  # fmt: skip
        if keeps_off:
            text = f"Node {node.name!r} keeps workers off by its taint {', '.join(keeps_off)}."
            hint = f"If workers may run there: options.tolerations: [{{key: {keeps_off[0]}, operator: Exists}}]"
            yield Finding(check="taint", state="warning", message=text, hint=hint)
