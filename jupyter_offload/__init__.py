"""Dask clusters wherever the facility has workers, from a notebook.

    import jupyter_offload as offload
    cluster = offload.new_cluster(site="local", workers=2, name="zmumu")
    client = cluster.get_client()

Importing this package is cheap: everything is loaded on first use.
"""

from __future__ import annotations

from typing import Any

try:
    from ._version import __version__  # type: ignore[import-not-found,unused-ignore]
except ImportError:  # a source tree that was never built
    __version__ = "0+unknown"

_NOTEBOOK = ("AsyncCluster", "Cluster", "OffloadError", "cluster", "new_cluster", "sites")
__all__ = ["__version__", *_NOTEBOOK]


def __getattr__(name: str) -> Any:
    if name in _NOTEBOOK:
        from . import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "jupyter-offload"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from .server.app import OffloadApp

    return [{"module": "jupyter_offload", "app": OffloadApp}]
