"""The notebook API: ``sites``, ``new_cluster`` and ``cluster``, blocking or awaitable.

import jupyter_offload as offload
from dask.distributed import Client

cluster = offload.new_cluster(workers=4, name="zmumu")
client = Client(cluster)
"""

from ..api.problems import OffloadError
from .handles import AsyncCluster, Cluster
from .opening import cluster, new_cluster, sites

__all__ = ["AsyncCluster", "Cluster", "OffloadError", "cluster", "new_cluster", "sites"]
