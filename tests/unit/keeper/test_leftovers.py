"""Which finished clusters are forgotten by themselves."""

from __future__ import annotations

from jupyter_offload.api.models import Phase
from jupyter_offload.keeper.leftovers import KEEP_FINISHED, KEEP_FINISHED_S, outdated

NOW = 10_000_000.0


def test_only_old_or_surplus_finished_ones_are_forgotten(make_record) -> None:
    done = {"phase": Phase.stopped, "cleaned": True}
    fresh = [make_record(id=f"fresh-{n}", **done, phase_since=NOW) for n in range(KEEP_FINISHED)]
    one_more = make_record(id="surplus", **done, phase_since=NOW)
    old = make_record(id="ancient", **done, phase_since=NOW - KEEP_FINISHED_S - 1)
    alive = make_record(id="running", phase=Phase.running, phase_since=1.0)
    dirty = make_record(id="unclean", phase=Phase.failed, phase_since=1.0)
    assert outdated([*fresh, alive, dirty], NOW) == []
    assert outdated([*fresh, one_more], NOW) == [one_more]
    assert outdated([old, alive], NOW) == [old]
