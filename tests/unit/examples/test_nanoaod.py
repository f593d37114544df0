"""The example sample: same seed same events, both formats readable, a Z where a Z belongs, and errors that help."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ak = pytest.importorskip("awkward")
uproot = pytest.importorskip("uproot")

from jupyter_offload.examples import nanoaod  # noqa: E402
from jupyter_offload.examples.nanoaod import physics, writer  # noqa: E402

# What a NanoAOD analysis expects to find, with the types NanoAOD gives them.
SCALARS = {
    "run": np.uint32, "luminosityBlock": np.uint32, "event": np.uint64, "genWeight": np.float32, "PV_npvs": np.int32,
    "MET_pt": np.float32, "MET_phi": np.float32, "HLT_IsoMu24": np.bool_, "HLT_Mu50": np.bool_,
}  # fmt: skip
OBJECTS = {
    "Muon_pt": np.float32, "Muon_eta": np.float32, "Muon_phi": np.float32, "Muon_mass": np.float32,
    "Muon_charge": np.int32, "Muon_pfRelIso04_all": np.float32, "Muon_tightId": np.bool_, "Jet_pt": np.float32,
    "Jet_eta": np.float32, "Jet_mass": np.float32, "Jet_btagDeepFlavB": np.float32, "Jet_jetId": np.int32,
}  # fmt: skip


def read(path: Path) -> "ak.Array":
    with uproot.open(path, object_cache=None, array_cache=None) as file:
        return file["Events"].arrays()


def same(a: "ak.Array", b: "ak.Array") -> bool:
    return all(ak.array_equal(a[name], b[name]) for name in {*a.fields, *b.fields})


def run_command(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jupyter_offload.examples.nanoaod", *arguments],
        capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


def pair_masses(events: "ak.Array") -> np.ndarray:
    good = (events["Muon_pt"] > 10) & (events["Muon_pfRelIso04_all"] < 0.15)
    two = ak.sum(good, axis=1) == 2
    pt, eta, phi, charge = (
        ak.to_numpy(ak.to_regular(events[f"Muon_{key}"][good][two])) for key in ("pt", "eta", "phi", "charge")
    )
    mass = np.sqrt(2 * pt[:, 0] * pt[:, 1] * (np.cosh(eta[:, 0] - eta[:, 1]) - np.cos(phi[:, 0] - phi[:, 1])))
    return mass[charge.sum(axis=1) == 0]


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_files_have_nanoaod_fields_and_types(tmp_path, kind):
    [path] = nanoaod.make(tmp_path, events=1000, files=1, format=kind)
    events = read(path)
    assert len(events) == 1000
    for name, dtype in SCALARS.items():
        assert ak.to_numpy(events[name]).dtype == dtype, name
    for name, dtype in OBJECTS.items():
        assert ak.to_numpy(ak.flatten(events[name])).dtype == dtype, name
    assert ak.all(events["nMuon"] == ak.num(events["Muon_pt"]))
    assert ak.all(events["nJet"] == ak.num(events["Jet_pt"]))
    for pt in (events["Muon_pt"], events["Jet_pt"]):
        assert ak.all(pt[:, :-1] >= pt[:, 1:]), "NanoAOD sorts objects by pT"


def test_same_seed_same_events_whatever_the_format(tmp_path):
    options = {"events": 1501, "files": 2, "seed": 7}
    tree = nanoaod.make(tmp_path / "a", **options)
    again = nanoaod.make(tmp_path / "b", **options, compression="lz4:1")
    ntuple = nanoaod.make(tmp_path / "a", **options, format="rntuple")
    other = nanoaod.make(tmp_path / "c", **{**options, "seed": 8})
    for i in range(2):
        first = read(tree[i])
        assert same(first, read(again[i]))
        assert same(first, read(ntuple[i]))
        assert not ak.array_equal(first["MET_pt"], read(other[i])["MET_pt"])
    halves = [read(path) for path in tree]
    assert [len(half) for half in halves] == [751, 750]
    assert not ak.array_equal(halves[0]["MET_pt"][:750], halves[1]["MET_pt"]), "each file has a seed of its own"
    assert ak.to_list(ak.concatenate([half["event"] for half in halves])) == list(range(1501))


def test_blocks_of_one_file_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "BLOCK_EVENTS", 400)
    for kind in ("ttree", "rntuple"):
        [path] = nanoaod.make(tmp_path, events=1000, files=1, format=kind)
        met = ak.to_numpy(read(path)["MET_pt"])
        assert met.size == 1000
        assert len(np.unique(met)) > 990


def test_mass_peaks_at_the_z(tmp_path):
    scipy_optimize = pytest.importorskip("scipy.optimize")
    special = pytest.importorskip("scipy.special")
    paths = nanoaod.make(tmp_path, events=120_000, files=2)
    mass = np.concatenate([pair_masses(read(path)) for path in paths])
    counts, edges = np.histogram(mass, bins=80, range=(70, 110))
    centre = (edges[1:] + edges[:-1]) / 2

    def shape(m, number, peak, resolution, floor):
        return number * 0.5 * special.voigt_profile(m - peak, resolution, physics.Z_WIDTH / 2) + floor

    start = (counts.sum(), 91, 1.5, 10)
    fitted, covariance = scipy_optimize.curve_fit(shape, centre, counts, p0=start, sigma=np.sqrt(counts + 1))
    assert abs(fitted[1] - physics.Z_MASS) < 0.005 + 5 * np.sqrt(covariance[1, 1]) < 0.1
    assert abs(fitted[2]) == pytest.approx(physics.Z_MASS * physics.PT_RESOLUTION / np.sqrt(2), rel=0.05)


def test_decay_conserves_energy_and_momentum():
    rng = np.random.default_rng(3)
    mass = physics.z_masses(rng, 10_000)
    pt, eta, phi = physics.decay_muons(rng, mass).transpose(1, 0, 2)
    momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    energy = np.sqrt((momentum**2).sum(axis=0) + physics.MUON_MASS**2)
    invariant = np.sqrt(energy.sum(axis=0) ** 2 - (momentum.sum(axis=1) ** 2).sum(axis=0))
    np.testing.assert_allclose(invariant, mass, rtol=1e-6)
    assert mass.min() >= physics.MASS_RANGE[0]
    assert mass.max() <= physics.MASS_RANGE[1]


def test_no_z_without_signal(tmp_path):
    [path] = nanoaod.make(tmp_path, events=50_000, files=1, z_fraction=0)
    mass = pair_masses(read(path))
    window = np.sum((mass > 86) & (mass < 96))
    assert window < 0.2 * mass.size


def test_complete_files_are_kept_and_missing_ones_made(tmp_path):
    paths = nanoaod.make(tmp_path, events=900, files=3)
    before = [path.stat().st_mtime_ns for path in paths]
    content = read(paths[1])
    paths[1].unlink()
    reported = []
    assert nanoaod.make(tmp_path, events=900, files=3, progress=lambda *step: reported.append(step)) == paths
    assert [p.stat().st_mtime_ns == t for p, t in zip(paths, before, strict=True)] == [True, False, True]
    assert same(content, read(paths[1]))
    assert reported[-1] == (paths[2].name, 300, 300)
    assert sorted(p.name for p in tmp_path.iterdir()) == [p.name for p in paths], "no temporary file is left"


@pytest.mark.parametrize("content", [b"", b"not a root file", b"root" + bytes(500)])
def test_foreign_file_is_not_overwritten_unasked(tmp_path, content):
    target = tmp_path / "zmumu-ttree-002.root"
    target.write_bytes(content)
    with pytest.raises(nanoaod.SampleExists, match=r"zmumu-ttree-002\.root cannot be read.*--overwrite"):
        nanoaod.make(tmp_path, events=200, files=2)
    assert target.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == [target.name], "nothing is written before all files were looked at"
    assert len(read(nanoaod.make(tmp_path, events=200, files=2, overwrite=True)[1])) == 100


def test_other_sample_is_named(tmp_path):
    nanoaod.make(tmp_path, events=200, files=1, seed=1)
    with pytest.raises(nanoaod.SampleExists, match="seed 1 instead of 2"):
        nanoaod.make(tmp_path, events=200, files=1, seed=2)
    with pytest.raises(nanoaod.SampleExists, match="events 200 instead of 300"):
        nanoaod.make(tmp_path, events=300, files=1, seed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--events", "0"], "events 0 is not a whole number from 1"),
        (["--events", "-5"], "events -5"),
        (["--events", "many"], "invalid int value: 'many'"),
        (["--files", "0"], "files 0"),
        (["--events", "3", "--files", "4"], "files 4 is not a whole number from 1 to 3"),
        (["--seed", "-1"], "seed -1"),
        (["--format", "csv"], "format 'csv' is unknown; choose one of ttree, rntuple"),
        (["--compression", "gzip"], "compression 'gzip' is unknown; choose one of zstd, lz4, zlib, lzma, none"),
        (["--compression", "zstd:99"], "the level of zstd is a number from 1 to 22"),
        (["--compression", "lz4:fast"], "the level of lz4 is a number from 1 to 12"),
        (["--z-fraction", "1.5"], "z_fraction 1.5 is not between 0 and 1"),
        (["--z-fraction", "nan"], "z_fraction nan is not between 0 and 1"),
    ],
)
def test_wrong_arguments_name_the_value_and_the_remedy(tmp_path, arguments, message):
    done = run_command(str(tmp_path / "out"), *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_command_prints_paths_and_progress(tmp_path):
    done = run_command(str(tmp_path), "--events", "300", "--files", "2", "--compression", "none")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / f"zmumu-ttree-00{i}.root") for i in (1, 2)]
    assert "zmumu-ttree-002.root: 150 of 150 events" in done.stderr


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    done = run_command(str(tmp_path / "file" / "data"), "--events", "10", "--files", "1")
    assert done.returncode == 1
    assert str(tmp_path / "file" / "data") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    done = run_command(str(tmp_path), "--events", "10", "--files", "1")
    assert done.returncode == 1
    assert "Permission denied" in done.stderr


def test_no_room_leaves_no_half_file(tmp_path):
    def limit():  # the kernel's own refusal, as a full disk gives it
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = run_command(str(tmp_path), "--events", "200000", "--files", "1", preexec_fn=limit)
    assert done.returncode == 1
    assert "Cannot write the sample" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_missing_extra_names_the_pip_line(tmp_path):
    blocker = tmp_path / "path"
    blocker.mkdir()
    (blocker / "uproot.py").write_text("raise ModuleNotFoundError(\"No module named 'uproot'\", name='uproot')\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(blocker), os.environ.get("PYTHONPATH", "")])}
    done = run_command(str(tmp_path / "out"), "--events", "10", "--files", "1", env=env)
    assert done.returncode == 1
    assert "needs uproot" in done.stderr
    assert "pip install 'jupyter_offload[hep]'" in done.stderr


def test_abandoned_temporary_file_is_swept(tmp_path):
    old, fresh = (tmp_path / f".zmumu-ttree-001.root.{pid}.part" for pid in (1, 2))
    for path in (old, fresh):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    nanoaod.make(tmp_path, events=10, files=1)
    assert not old.exists()
    assert fresh.exists(), "somebody may still be writing it"
