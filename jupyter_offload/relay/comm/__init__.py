"""The Dask communication backend of ``relay://<peer>``: everybody dials out, Dask's own TLS runs end to end.

Found by Dask through the entry point ``relay`` of the group ``distributed.comm.backends``. Needs ``distributed`` alone.
"""

import dask.config

from .backend import RelayBackend
from .security import RelaySecurity
from .settings import DEFAULTS, BadSettings

# Below whatever the user configured; Dask's own default gives way (it does for defaults that come later).
dask.config.update_defaults(DEFAULTS)

__all__ = ["BadSettings", "RelayBackend", "RelaySecurity"]
