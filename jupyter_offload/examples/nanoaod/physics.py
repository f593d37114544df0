"""The physics of the example: Z -> mu mu over a background, in blocks of flat NumPy arrays.

What is modelled, in natural units with GeV:

- Mass: Breit-Wigner (Cauchy) with the Z mass and width of the Particle Data Group, Review of Particle Physics, 2024 edition
  (https://pdg.lbl.gov, Z boson listing), cut to 40..160 GeV. No photon exchange, no interference, no final-state radiation.
- Production: transverse momentum exponential with mean 18 GeV, rapidity Gaussian of width 1.6: roughly a hadron collider.
- Decay: isotropic in the rest frame of the Z, two opposite charges, then a Lorentz boost to the laboratory.
- Detector: each muon's pT is smeared by 1.5 %, so the peak is a Breit-Wigner folded with a Gaussian of
  91.19 GeV * 1.5 % / sqrt(2) = 0.97 GeV, and its fitted centre lies about 0.005 GeV below the Z mass. Muons are seen above
  3 GeV and within |eta| < 2.4, sorted by pT, as NanoAOD has them.
- Background: muons with a falling pT and loose isolation, in random number and with random charge.

Jets, MET and trigger bits are there so that files have the shape and size of the real thing; they carry no physics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: GeV, Particle Data Group 2024.
Z_MASS = 91.1880
Z_WIDTH = 2.4955
MUON_MASS = 0.1056583755

MASS_RANGE = (40.0, 160.0)
PT_RESOLUTION = 0.015
MUON_MINIMUM_PT = 3.0
MUON_MAXIMUM_ETA = 2.4
#: Raise it whenever the same seed gives other events.
CONTENT_VERSION = 1
EVENTS_PER_LUMINOSITY_BLOCK = 1000

Array = NDArray[np.generic]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Collection:
    """Objects of many events as flat columns; event ``i`` owns the next ``counts[i]`` entries."""

    counts: NDArray[np.int32]
    columns: dict[str, Array]


@dataclass(frozen=True)
class Block:
    """Some consecutive events: one value per event in ``scalars``, objects in ``collections``."""

    scalars: dict[str, Array]
    collections: dict[str, Collection]


def z_masses(rng: np.random.Generator, size: int) -> Floats:
    """Return ``size`` Z masses in GeV, by the quantile function of the truncated Breit-Wigner."""
    low, high = (np.arctan((edge - Z_MASS) / (Z_WIDTH / 2)) for edge in MASS_RANGE)
    return Z_MASS + Z_WIDTH / 2 * np.tan(rng.uniform(low, high, size))


def decay_muons(rng: np.random.Generator, mass: Floats) -> Floats:
    """Return pT (GeV), eta and phi of both muons of each Z, shape ``(2, 3, size)``; before any detector effect."""
    size = mass.size
    pt, rapidity, phi = rng.exponential(18, size), rng.normal(0, 1.6, size), rng.uniform(-np.pi, np.pi, size)
    transverse_mass = np.hypot(mass, pt)
    energy = transverse_mass * np.cosh(rapidity)
    beta = np.stack([pt * np.cos(phi), pt * np.sin(phi), transverse_mass * np.sinh(rapidity)]) / energy
    gamma = energy / mass

    cos_theta, psi = rng.uniform(-1, 1, size), rng.uniform(-np.pi, np.pi, size)
    sin_theta = np.sqrt(1 - cos_theta**2)
    momentum = np.sqrt(mass**2 / 4 - MUON_MASS**2)
    direction = np.stack([sin_theta * np.cos(psi), sin_theta * np.sin(psi), cos_theta])

    muons = np.empty((2, 3, size))
    for i, sign in enumerate((1, -1)):
        at_rest = sign * momentum * direction
        along = (beta * at_rest).sum(axis=0)
        # gamma^2 / (gamma + 1) = (gamma - 1) / beta^2, without its 0/0 for a Z at rest
        px, py, pz = at_rest + (gamma**2 / (gamma + 1) * along + gamma * mass / 2) * beta
        muon_pt = np.hypot(px, py)
        muons[i] = muon_pt, np.arcsinh(pz / muon_pt), np.arctan2(py, px)
    return muons


def _collect(size: int, event: Indices, pt: Floats, columns: dict[str, Array]) -> Collection:
    """Group flat objects by event, highest pT first."""
    order = np.argsort(event * 2.0**14 - np.minimum(pt, 2.0**13), kind="stable")
    columns = {"pt": pt.astype(np.float32), **columns}
    return Collection(
        np.bincount(event, minlength=size).astype(np.int32), {name: column[order] for name, column in columns.items()}
    )


def _muons(rng: np.random.Generator, is_signal: NDArray[np.bool_]) -> Collection:
    signal = np.flatnonzero(is_signal)
    other = np.flatnonzero(~is_signal)
    fake_event = np.repeat(other, rng.choice([0, 1, 2, 3], other.size, p=[0.45, 0.35, 0.17, 0.03]))
    fakes = fake_event.size

    true = decay_muons(rng, z_masses(rng, signal.size))
    first_charge = rng.choice(np.array([-1, 1], np.int32), signal.size)
    event = np.concatenate([signal, signal, fake_event])
    pt = np.concatenate([true[0, 0], true[1, 0], 2 + rng.exponential(9, fakes)])
    pt *= np.clip(rng.normal(1, PT_RESOLUTION, pt.size), 0.5, 1.5)
    eta = np.concatenate([true[0, 1], true[1, 1], rng.normal(0, 1.4, fakes)])
    phi = np.concatenate([true[0, 2], true[1, 2], rng.uniform(-np.pi, np.pi, fakes)])
    charge = np.concatenate([first_charge, -first_charge, rng.choice(np.array([-1, 1], np.int32), fakes)])
    isolation = np.concatenate([rng.exponential(0.04, 2 * signal.size), rng.exponential(0.25, fakes)])

    seen = (pt > MUON_MINIMUM_PT) & (np.abs(eta) < MUON_MAXIMUM_ETA)
    event, pt, isolation, muons = event[seen], pt[seen], isolation[seen].astype(np.float32), int(seen.sum())
    return _collect(
        is_signal.size, event, pt,
        {
            "eta": eta[seen].astype(np.float32),
            "phi": phi[seen].astype(np.float32),
            "mass": np.full(muons, MUON_MASS, np.float32),
            "charge": charge[seen],
            "pfRelIso04_all": isolation,
            "dxy": rng.normal(0, 0.01, muons).astype(np.float32),
            "dz": rng.normal(0, 0.02, muons).astype(np.float32),
            "tightId": isolation < 0.5,
            "mediumId": isolation < 1.0,
        },
    )  # fmt: skip


def _jets(rng: np.random.Generator, size: int) -> Collection:
    event = np.repeat(np.arange(size), rng.poisson(4.5, size))
    jets = event.size
    return _collect(
        size, event, 15 + rng.exponential(22, jets),
        {
            "eta": rng.normal(0, 2, jets).astype(np.float32),
            "phi": rng.uniform(-np.pi, np.pi, jets).astype(np.float32),
            "mass": rng.exponential(8, jets).astype(np.float32),
            "btagDeepFlavB": rng.beta(0.4, 3, jets).astype(np.float32),
            "area": rng.normal(0.5, 0.02, jets).astype(np.float32),
            "jetId": rng.choice(np.array([0, 2, 6], np.int32), jets, p=[0.02, 0.08, 0.9]),
        },
    )  # fmt: skip


def make_block(rng: np.random.Generator, size: int, first_event: int, z_fraction: float) -> Block:
    """Return ``size`` events numbered from ``first_event``, of which about ``z_fraction`` hold a Z."""
    is_signal = rng.random(size) < z_fraction
    number = first_event + np.arange(size, dtype=np.uint64)
    muons = _muons(rng, is_signal)
    scalars: dict[str, Array] = {
        "run": np.full(size, 362000, np.uint32),
        "luminosityBlock": (number // EVENTS_PER_LUMINOSITY_BLOCK + 1).astype(np.uint32),
        "event": number,
        "genWeight": rng.choice(np.array([-1, 1], np.float32), size, p=[0.05, 0.95]),
        "PV_npvs": rng.poisson(30, size).astype(np.int32),
        "MET_pt": rng.exponential(25, size).astype(np.float32),
        "MET_phi": rng.uniform(-np.pi, np.pi, size).astype(np.float32),
        "HLT_IsoMu24": is_signal | (rng.random(size) < 0.05),
        "HLT_Mu50": rng.random(size) < 0.1,
        "HLT_Mu17_TrkIsoVVL_Mu8_TrkIsoVVL_DZ_Mass3p8": is_signal & (rng.random(size) < 0.9),
    }
    return Block(scalars, {"Muon": muons, "Jet": _jets(rng, size)})
