"""Clusters of the Dask Operator (dask-kubernetes): scheduler and workers are pods on ordinary nodes, without encryption.

``options.py`` what an administrator writes; ``objects.py`` what is made; ``snapshot.py`` one look at everything; what the look
means, pure, ``reading.py`` for workers and ``showing.py`` for clusters; ``reach.py`` whether the scheduler can be reached from
here; ``doctor.py``; ``backend.py`` composes.
"""

from .backend import DaskOperatorBackend

__all__ = ["DaskOperatorBackend"]
