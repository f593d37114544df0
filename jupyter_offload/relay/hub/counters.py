"""What the relay counts: by cluster and in total, never a payload, and no label that a stranger could choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sample:
    """One number, as a Prometheus exposition shows it. ``kind`` is ``counter`` or ``gauge``."""

    name: str
    kind: str
    text: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Tally:
    """Counters of one cluster, or of all.

    ``connections`` by kind (``connect``, ``session``, ``listen``, ``accept``, ``service``), ``refusals`` by reason. Bytes of
    splices that have ended; those of living ones are added when somebody looks.
    """

    connections: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    bytes_to_peers: int = 0
    bytes_from_peers: int = 0


@dataclass
class Counters(Tally):
    """Counters of the whole relay. ``dropped`` is by stage and reason: ``("silent", "timeout")``."""

    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    handshakes: Counter[str] = field(default_factory=Counter)
    accept_errors: int = 0

    def refused(self, reason: str, tally: Tally | None = None) -> None:
        """Count a refusal, also for the cluster that it belongs to."""
        self.refusals[reason] += 1
        if tally is not None:
            tally.refusals[reason] += 1


def tally_samples(tally: Tally, to_peers: int, from_peers: int, labels: Mapping[str, str]) -> Iterator[Sample]:
    """Yield the counters of a cluster, or of all. ``to_peers`` and ``from_peers`` are bytes of living splices."""
    prefix = "offload_relay_cluster_" if labels else "offload_relay_"
    for kind, number in sorted(tally.connections.items()):
        yield Sample(f"{prefix}connections_total", "counter", "Connections by what they were for.", number,
                     {**labels, "kind": kind})  # fmt: skip
    for reason, number in sorted(tally.refusals.items()):
        yield Sample(f"{prefix}refusals_total", "counter", "Connections and registrations refused.", number,
                     {**labels, "reason": reason})  # fmt: skip
    for direction, number in (
        ("to_peer", tally.bytes_to_peers + to_peers),
        ("from_peer", tally.bytes_from_peers + from_peers),
    ):
        yield Sample(f"{prefix}bytes_total", "counter", "Bytes forwarded between the two ends.", number,
                     {**labels, "direction": direction})  # fmt: skip


def relay_samples(counters: Counters) -> Iterator[Sample]:
    """Yield what is counted for the whole relay alone."""
    for (stage, why), number in sorted(counters.dropped.items()):
        yield Sample("offload_relay_dropped_total", "counter", "Unfinished connections dropped.", number,
                     {"stage": stage, "reason": why})  # fmt: skip
    for outcome, number in sorted(counters.handshakes.items()):
        yield Sample("offload_relay_handshakes_total", "counter", "TLS handshakes that ended at the relay.", number,
                     {"outcome": outcome})  # fmt: skip
    yield Sample("offload_relay_accept_errors_total", "counter", "Times the system had no connection to give.",
                 counters.accept_errors)  # fmt: skip
