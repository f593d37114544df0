"""One module for each thing measured; each has ``run(rounds, say) -> Result``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ..report import Result

#: Name on the command line -> what it measures. The module of the same name is loaded when it is run.
PARTS = {
    "start": "click to first result, and scale +1: ours, LocalCluster (tcp, TLS), dask-labextension; warm and cold",
    "server": "what a Jupyter server gains by us: time and CPU to its first answer, memory",
    "lag": "longest delay of the Jupyter server's event loop while a cluster starts",
    "listing": "latency of listing 50 clusters, and 2000 workers",
    "zmumu": "Z to mu mu: events per CPU second and memory against Dask's defaults and a plain loop",
    "relay": "a cluster on two sites through the relay against plain tls://, with 0, 20 and 100 ms of delay (Linux, root)",
    "virtual_node": "clusters of 1 to 8 workers on a real interLink virtual node, beside the bare time of a pod there",
    "virtual_node_look": "one look at 200 pods: the bare list, and ours with the state of each worker",
    "relay_storm": "100 and 300 workers that come at once through a relay, and 100 that come back to one that was killed",
}


def load(name: str) -> Callable[[int, Callable[[str], None]], Result]:
    """Return the ``run`` of a part."""
    run: Callable[[int, Callable[[str], None]], Result] = import_module(f".{name}", __name__).run
    return run
