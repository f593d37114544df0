"""From New cluster to nothing left, on a real virtual node."""

from __future__ import annotations

from .conftest import SITE, FarDesk


def test_workers_are_pods_that_compute_and_go(far: FarDesk) -> None:
    cluster = far.new("pods", workers=2, site=SITE)
    assert [w.stage for w in cluster.worker_list] == ["proven", "proven"]
    assert all(w.site_id and w.site_id.startswith("job-") and w.round_trip_s for w in cluster.worker_list)
    with far.dask("pods") as client:
        assert client.submit(sum, [1, 2, 3]).result(timeout=60) == 6
        assert sorted(client.gather(client.map(abs, range(-3, 0)))) == [1, 2, 3]
    far.change("pods", workers=3)
    far.when("pods", lambda c: c.workers.connected == 3)
    far.change("pods", workers=1)
    far.when("pods", lambda c: c.workers.connected == 1 and len(c.worker_list) == 1)
    far.stop("pods")
    far.nothing_left(cluster.id)
