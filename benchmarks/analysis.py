"""The analysis of ``notebooks/zmumu-uproot.ipynb`` as functions; ``tests/notebooks`` checks that both find the same pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

COLUMNS = ["HLT_IsoMu24", "Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge", "Muon_pfRelIso04_all"]


def histogram(path: str, start: int, stop: int) -> Any:
    """Histogram the mass of isolated, oppositely charged muon pairs in events start to stop of one file."""
    import awkward as ak
    import numpy as np
    import uproot
    from hist import Hist

    # uproot's own caches would make every round but the first a matter of memory.
    with uproot.open(path, object_cache=None, array_cache=None) as file:
        events = file["Events"].arrays(COLUMNS, entry_start=start, entry_stop=stop)
    good = (events.Muon_pt > 10) & (events.Muon_pfRelIso04_all < 0.15)
    two = events.HLT_IsoMu24 & (ak.sum(good, axis=1) == 2)
    pairs, good = events[two], good[two]
    pt, eta, phi, charge = (ak.to_numpy(pairs[f"Muon_{name}"][good]).T for name in ("pt", "eta", "phi", "charge"))
    mass = np.sqrt(2 * pt[0] * pt[1] * (np.cosh(eta[0] - eta[1]) - np.cos(phi[0] - phi[1])))
    accepted = (charge[0] != charge[1]) & (pt.max(axis=0) > 25)
    return Hist.new.Reg(120, 60, 120, name="mass").Double().fill(mass[accepted])


def count_pairs(path: str, start: int, stop: int) -> int:
    """Return how many pairs the histogram holds."""
    return int(histogram(path, start, stop).sum(flow=True))


def count_all(tasks: Iterable[tuple[str, int, int]]) -> int:
    """Do all tasks in a plain loop."""
    return sum(count_pairs(*task) for task in tasks)
