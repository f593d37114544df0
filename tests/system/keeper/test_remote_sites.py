"""A real keeper and a site that is remote: why workers wait, what a site that refuses or is silent means, what is left there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_offload.api import locations
from jupyter_offload.api.models import ClusterSpec, Findings, Preview, SiteList, SweepReport, Timeline

from .conftest import Desk, until

PROFILES = [{"name": n, "cores": 1, "memory_bytes": 2**30} for n in ("small", "gpu")]


class Paper:
    """The site, as the test holds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mood()

    def mood(self, **mood: Any) -> None:
        new = self.folder / "mood.new"
        new.write_text(json.dumps(mood))
        new.replace(self.folder / "mood.json")

    def leave(self, cluster: str, number: int = 0, age_s: float = 3600) -> Path:
        """Put something there as a keeper would have that was killed long ago."""
        sheet = self.folder / f"{locations.owner_id()}--{cluster}--{number}"
        sheet.touch()
        then = time.time() - age_s
        os.utime(sheet, (then, then))
        return sheet

    def sheets(self) -> list[str]:
        return sorted(p.name.split("--", 1)[1] for p in self.folder.glob("*--*"))


@pytest.fixture
def paper(tmp_path: Path, desk_with, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paper]:
    """A site ``paper``, and ``paper-a`` and ``paper-b`` that are discovered; its desk is ``paper.desk``."""
    plugin = tmp_path / "plugin"
    info = plugin / "paper_site-1.dist-info"
    info.mkdir(parents=True)
    (plugin / "paper_site.py").write_text((Path(__file__).parent / "paper_site.py").read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paper_site\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[jupyter_offload.backends]\npaper = paper_site:PaperSite\n")
    folder = tmp_path / "paper"
    folder.mkdir()
    desk: Desk = desk_with(PYTHONPATH=os.pathsep.join(filter(None, [str(plugin), os.environ.get("PYTHONPATH")])))
    sites = desk.home / "conf" / "offload" / "sites"
    sites.mkdir(parents=True)
    for name, more in (("paper", {}), ("template", {"nodes": ["paper-a", "paper-b"]})):
        site = {"backend": "paper", "profiles": PROFILES, "options": {"folder": str(folder), **more}}
        (sites / f"{name}.yaml").write_text(json.dumps(site))
    paper = Paper(folder)
    paper.desk = desk
    yield paper
    paper.mood()


def entries(desk: Desk, name: str, code: str) -> list[str]:
    found = desk.client.call("clusterTimeline", Timeline, id=name).entries
    return [e.message for e in found if e.code == code]


def test_waits_are_told_in_the_words_of_the_site_and_once(paper: Paper) -> None:
    desk = paper.desk
    paper.mood(queue="Resources")
    made = desk.new("waits", 12, ready=False, site="paper")
    cluster = desk.when("waits", lambda c: c.reason.code == "site-queued")
    assert "Resources" in cluster.reason.message and "12 workers" in cluster.reason.message
    assert {(w.stage, w.message, w.code) for w in cluster.worker_list} == {("queued", "Resources", "site-queued")}
    queued = ["12 workers are in the queue of the site: Resources"]
    assert entries(desk, "waits", "worker-queued") == queued

    desk.kill_keeper()
    desk.when("waits", lambda c: c.reason.code == "site-queued" and bool(c.worker_list))
    assert entries(desk, "waits", "worker-queued") == queued
    desk.stop(made.id)
    assert paper.sheets() == []


def test_a_refusal_is_told_and_what_is_asked_for_next_is_tried(paper: Paper) -> None:
    desk = paper.desk
    paper.mood(refuses="8 of 8 cores are used.")
    desk.new("refused", 1, ready=False, site="paper")
    cluster = desk.when("refused", lambda c: c.reason.code == "quota-exceeded")
    assert "8 of 8 cores are used." in cluster.reason.message and cluster.reason.hint == "Ask for less."
    paper.mood()
    desk.when("refused", lambda c: c.reason.code == "site-queued")


def test_the_end_says_what_is_left_and_goes_on_when_the_site_answers(paper: Paper) -> None:
    desk = paper.desk
    made = desk.new("left", 2, ready=False, site="paper")
    desk.when("left", lambda c: len(c.worker_list) == 2)
    paper.mood(keeps=True)
    desk.client.call("deleteCluster", type(made), id=made.id)
    cluster = desk.when("left", lambda c: c.reason.code == "left-at-site")
    assert cluster.phase == "stopping" and "sheet 0; sheet 1" in cluster.reason.message
    assert desk.get("left").left_at_site == ["sheet 0", "sheet 1"]

    paper.mood(silent=True)
    cluster = desk.when("left", lambda c: c.reason.code == "cannot-see")
    assert "Nobody answers" in cluster.reason.message and "as soon as it answers" in (cluster.reason.hint or "")
    desk.kill_keeper()
    assert desk.get("left").phase == "stopping", "what cannot be seen is not gone"

    paper.mood()
    assert desk.phase("left", "stopped").left_at_site == []
    assert paper.sheets() == []


def test_a_new_keeper_sweeps_what_no_cluster_knows_and_nothing_else(paper: Paper) -> None:
    desk = paper.desk
    made = desk.new("mine", 1, ready=False, site="paper")
    desk.when("mine", lambda c: bool(c.worker_list))
    stranger = paper.folder / "another-owner---unknown1--0"
    stranger.touch()
    left, young = paper.leave("unknown1"), paper.leave("unknown2", 1, age_s=0)
    desk.kill_keeper()
    desk.keeper  # noqa: B018  (starts the next one)
    until(lambda: not left.exists(), wrong="it was not swept")
    assert young.exists() and stranger.exists()
    assert f"{made.id}--0" in paper.sheets()

    def told() -> list[str]:
        return [f.message for f in desk.client.call("doctor", Findings).findings if f.check == "leftovers"]

    until(told, wrong="the doctor does not say it")
    assert "sheet 0" in told()[0] and "was deleted" in told()[0]


def test_sweep_by_command(paper: Paper) -> None:
    desk = paper.desk
    desk.keeper  # noqa: B018  (its own sweep finds nothing yet)
    until(lambda: desk.client.call("listSites", SiteList).sites)
    left = paper.leave("unknown1")

    def swept(*words: str) -> tuple[int, SweepReport]:
        command = [sys.executable, "-m", "jupyter_offload.cli", "clusters", "sweep", "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90)
        return done.returncode, SweepReport.model_validate_json(done.stdout)

    paper.mood(keeps=True)
    status, report = swept("--site", "paper", "--dry-run")
    assert (status, [(s.cluster, s.what, s.state) for s in report.swept]) == (0, [("unknown1", "sheet 0", "found")])
    assert left.exists()
    paper.mood(silent=True)
    status, report = swept("--site", "paper")
    assert status == 1 and report.swept == [] and "Nobody answers" in report.problems[0].message
    assert left.exists()
    paper.mood()
    status, report = swept()
    assert (status, [s.state for s in report.swept]) == (0, ["deleted"]), "one, though three sites show it"
    assert not left.exists()


def test_discovered_sites_are_used_and_refined_and_sizes_that_cannot_be_had_are_told(paper: Paper) -> None:
    desk = paper.desk
    paper.mood(unavailable={"gpu": "The site has no GPU now."})

    def names() -> list[str]:
        return [s.name for s in desk.client.call("listSites", SiteList).sites]

    until(lambda: names() == ["local", "paper", "paper-a", "paper-b"], wrong="nothing was discovered")
    preview = desk.client.call("previewCluster", Preview, body=ClusterSpec(name="x", site="paper-a", profile="gpu"))
    assert "Profile gpu cannot be had now: The site has no GPU now." in preview.warnings
    small = desk.client.call("previewCluster", Preview, body=ClusterSpec(name="x", site="paper-a", profile="small"))
    assert not any("cannot be had" in w for w in small.warnings)

    desk.new("there", 1, ready=False, site="paper-b")
    desk.when("there", lambda c: bool(c.worker_list))
    template = desk.home / "conf" / "offload" / "sites" / "template.yaml"
    template.unlink()
    until(lambda: names() == ["local", "paper", "paper-b"], wrong="a site with a cluster went, or one without stayed")
    desk.stop("there")
    until(lambda: names() == ["local", "paper"], wrong="a site that is gone stayed")
