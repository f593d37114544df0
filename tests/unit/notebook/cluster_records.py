"""Records as a keeper sends them."""

from datetime import UTC, datetime

from jupyter_offload.api import models

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def profile(**values):
    return models.Profile(**({"name": "small", "cores": 1, "memory_bytes": 2**31} | values))


def cluster(**values):
    spec = {"name": values.get("name", "zmumu"), "workers": 2} | values.pop("spec", {})
    return models.Cluster(
        **(
            {
                "id": "abc123",
                "name": "zmumu",
                "spec": spec,
                "profile": profile(),
                "site_title": "This computer",
                "owner": "me",
                "host": "here",
                "desired": "running",
                "phase": "running",
                "phase_since": NOW,
                "reason": {"code": "all-workers", "message": "All workers are here."},
                "created_at": NOW,
                "revision": 7,
                "workers": {"requested": 2, "connected": 2},
            }
            | values
        )
    )
