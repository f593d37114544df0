"""A cluster that does not know the Dask Operator's objects."""

from __future__ import annotations

import pytest

from jupyter_offload.api.problems import BadInput

from .conftest import Desk

pytestmark = pytest.mark.timeout(400)

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def unknown(desk: Desk) -> None:
    for name in ("daskclusters", "daskworkergroups", "daskautoscalers", "daskjobs"):
        desk.control_plane.admin.delete(f"{DEFINITIONS}/{name}.kubernetes.dask.org")
    served = "/apis/kubernetes.dask.org/v1"
    desk.node.until(lambda: desk.control_plane.admin.get(served).status_code == 404)


@pytest.mark.usefixtures("unknown")
def test_the_doctor_and_the_card_say_how_it_is_installed(desk: Desk) -> None:
    health = desk.site_now().health
    assert health.state == "unhealthy"
    assert "Dask Operator is not installed" in health.message
    assert "helm install --repo https://helm.dask.org" in (health.hint or "")
    done = desk.home.offload("sites", "check", desk.site)
    assert "helm install" in done.stdout + done.stderr
    desk.new("vain", workers=1)
    failed = desk.when("vain", lambda c: c.phase == "failed")
    assert failed.reason.code == "site-refused"
    assert "helm install" in (failed.reason.hint or "")


def test_a_profile_and_an_image_that_are_not_there_are_refused(desk: Desk) -> None:
    with pytest.raises(BadInput):
        desk.new("bad", workers=1, image="none-such")
