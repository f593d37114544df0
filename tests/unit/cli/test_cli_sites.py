"""What the command line prints of sites, of workers on their way, and of what is left at sites."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta

import pytest
from test_following import record

from jupyter_offload.api.models import Site, SiteList, SweepReport
from jupyter_offload.cli import FAILED, OK, clusters, sites, sweeping
from jupyter_offload.cli.output import Output

PROFILE = {"name": "small", "cores": 1, "memory_bytes": 2**31}
GPU = PROFILE | {"name": "gpu", "accelerators": [{"resource": "nvidia.com/gpu", "model": "A100"}]}


class Answers:
    """A keeper that always says the same."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: dict[str, object] = {}

    async def call(self, operation, response, **arguments):
        self.asked = {"operation": operation} | arguments
        assert isinstance(self.answer, response)
        return self.answer


def site(**values: object) -> Site:
    return Site.model_validate(
        {"name": "leonardo", "title": "Leonardo", "backend": "kubernetes", "profiles": [PROFILE, GPU], "maximum_clusters": 9,
         "default_profile": "small", "health": {"state": "healthy"}, "capacity": {}} | values
    )  # fmt: skip


async def listed(capsys, *shown: Site) -> list[str]:
    assert await sites.list_(Answers(SiteList(sites=list(shown))), Output(as_json=False), argparse.Namespace()) == OK
    return capsys.readouterr().out.splitlines()


async def test_accelerators_are_counted_by_title_and_what_nobody_reports_is_unknown(capsys) -> None:
    accelerators = [
        {"resource": "nvidia.com/gpu", "title": "A100", "total": 12, "free": 9},
        {"resource": "nvidia.com/mig-1g.10gb", "model": "A100 slice 1g.10gb", "total": 7, "free": None},
        {"resource": "xilinx.com/fpga", "total": None, "free": None},
        {"resource": "amd.com/gpu", "title": "MI250", "total": 4, "free": 0},
    ]
    _, row = await listed(capsys, site(capacity={"accelerators": accelerators, "cores_total": 64, "cores_free": None}))
    assert "A100 9 of 12; A100 slice 1g.10gb unknown of 7; xilinx.com/fpga unknown of unknown; MI250 0 of 4" in row
    assert "unknown of 64" in row


async def test_last_heard_is_said_in_words(capsys) -> None:
    heard = datetime.now(UTC) - timedelta(hours=3)
    _, row = await listed(capsys, site(health={"state": "healthy", "last_heard_at": heard}))
    assert re.search(r"  3 h( \d+ s)? ago  ", row)
    _, row = await listed(capsys, site())
    assert " ago" not in row


async def test_what_cannot_be_had_and_what_is_not_encrypted_is_said(capsys) -> None:
    why = "The site has no A100 (nvidia.com/gpu); it has no accelerators."
    health = {"state": "unhealthy", "message": "The node is not ready.", "hint": "Wait."}
    lines = await listed(capsys, site(unavailable={"gpu": why}, encrypted=False, health=health))
    assert "gpu (1 core, 2 GiB, 1 x A100, not now)" in lines[1] and "small* (1 core, 2 GiB)" in lines[1]
    assert lines[2:] == [
        "leonardo: The node is not ready. Wait.",
        f"leonardo: gpu cannot be had now: {why}",
        "leonardo: Not encrypted: clients, scheduler and workers there talk without TLS.",
    ]


async def shown(capsys, **values: object) -> list[str]:
    answer = Answers(record(**values))
    assert await clusters.show(answer, Output(as_json=False), argparse.Namespace(name="abc123")) == OK
    return capsys.readouterr().out.splitlines()


async def test_each_worker_tells_how_far_it_is_and_why(capsys) -> None:
    since = datetime.now(UTC) - timedelta(minutes=5)
    way = {"state": "starting", "cores": 1, "memory_bytes": 2**31}
    workers = [
        way | {"name": "wqueue", "stage": "queued", "stage_since": since, "site_id": "4711", "message": "Resources",
               "hint": "Wait, or ask for less.", "deadline_at": since + timedelta(days=1)},
        way | {"name": "wdone", "state": "connected", "stage": "proven", "stage_since": since, "round_trip_s": 0.0123},
    ]  # fmt: skip
    lines = await shown(capsys, worker_list=workers)
    heading = next(line for line in lines if "STAGE" in line)
    queued = next(line for line in lines[lines.index(heading) :] if line.startswith("wqueue"))
    cells = [queued[heading.index(name) :].split("  ")[0].strip() for name in ("STAGE", "AT THE SITE", "WHY")]
    assert cells == ["queued", "4711", "Resources Wait, or ask for less."]
    assert queued[heading.index("FOR") :].startswith("5 min")
    deadline = (since + timedelta(days=1)).astimezone()
    assert queued[heading.index("GIVEN UP AT") :].startswith(f"{deadline:%H:%M:%S}")
    assert any(line.startswith("wdone") and "12.3 ms" in line for line in lines)


async def test_local_workers_have_no_table_of_stages(capsys) -> None:
    local = {"name": "w0", "state": "connected", "cores": 1, "memory_bytes": 2**31}
    assert not any("STAGE" in line for line in await shown(capsys, worker_list=[local]))


async def test_what_is_left_the_image_and_missing_encryption_are_said(capsys) -> None:
    spec = {"name": "z", "image": "analysis"}
    lines = await shown(capsys, phase="stopping", left_at_site=["pod a", "Secret a"], encrypted=False, spec=spec)
    facts = dict(line.split("  ", 1) for line in lines if "  " in line)
    assert facts["left"].strip() == "pod a; Secret a"
    assert facts["image"].strip() == "analysis"
    assert "without TLS" in facts["encryption"]


SWEPT = {"site": "far", "cluster": "abc123", "what": "pod offload-w1"}
PROBLEM = {"check": "site ill: sweep", "state": "warning", "message": "No route.", "hint": "Look at the VPN."}


@pytest.mark.parametrize(
    ("report", "status", "says"),
    [
        ({"swept": []}, OK, "Nothing is left at any site."),
        ({"swept": [SWEPT | {"state": "deleted"}]}, OK, "far   deleted  pod offload-w1  abc123"),
        ({"swept": [SWEPT | {"state": "found"}]}, OK, "far   found  pod offload-w1  abc123"),
        ({"swept": [SWEPT | {"state": "deleting"}]}, FAILED, "far   deleting  pod offload-w1  abc123"),
        ({"swept": [], "problems": [PROBLEM]}, FAILED, "site ill: sweep: No route. Look at the VPN."),
    ],
)
async def test_a_sweep_says_what_it_found_and_its_status_whether_all_is_well(capsys, report, status, says) -> None:
    answer = Answers(SweepReport.model_validate(report))
    arguments = argparse.Namespace(dry_run=True, site="far")
    assert await sweeping.sweep(answer, Output(as_json=False), arguments) == status
    assert says in capsys.readouterr().out
    assert answer.asked == {"operation": "sweep", "dry_run": True, "site": "far"}
