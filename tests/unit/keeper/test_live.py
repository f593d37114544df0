"""What clients are told of what a site still holds."""

from __future__ import annotations

import pytest

from jupyter_offload.api.models import Phase
from jupyter_offload.keeper.live import Live, cluster_view

BEING_DELETED = ["what it has at the site, which is being deleted"]
HANDLE = {"workers": {"w1": {}}}


@pytest.mark.parametrize(
    ("changes", "left", "shown"),
    [
        ({"phase": Phase.running, "handle": HANDLE}, [], []),
        ({"phase": Phase.failed, "handle": HANDLE}, [], BEING_DELETED),
        ({"phase": Phase.failed, "handle": HANDLE}, ["pod a"], ["pod a"]),
        ({"phase": Phase.failed, "handle": HANDLE, "cleaned": True}, [], []),
        ({"phase": Phase.failed}, [], []),
        ({"phase": Phase.stopping, "handle": HANDLE}, ["pod a"], ["pod a"]),
    ],
)
def test_nothing_is_called_gone_before_its_site_confirmed_it(make_record, changes, left, shown) -> None:
    assert cluster_view(make_record(**changes), Live(left=left)).left_at_site == shown
    if not left:
        assert cluster_view(make_record(**changes), None).left_at_site == shown
