"""What the doctor says of the way to the keeper's pod."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from jupyter_offload import __version__
from jupyter_offload.api.models import FieldProblem, Finding
from jupyter_offload.api.problems import ProblemCode, Unavailable
from jupyter_offload.doorway import doctor
from jupyter_offload.doorway.keeping import NotYet


class Wire:
    def __init__(self, release: str, days: int, *, away: bool = False) -> None:
        self.release, self.days, self.away = release, days, away

    async def health(self) -> Any:
        if self.away:
            raise httpx.ConnectTimeout("no route")
        return SimpleNamespace(version=self.release, clusters_active=2)

    async def certificate_ends_at(self) -> datetime.datetime:
        if self.away:
            raise ConnectionRefusedError
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=self.days, minutes=5)


class Kept:
    """Stands for ``Keeping``, with a place or an error."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    async def place(self) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def place(release: str = __version__, days: int = 60, *, by_older: bool = False, away: bool = False) -> Any:
    made = {"spec": {"volumes": [], "containers": [{}]}}
    wire = Wire(release, days, away=away)
    return SimpleNamespace(wire=wire, name="offload-keeper-1", namespace="ann", made=made, by_older=by_older)


async def examine(outcome: Any) -> list[Finding]:
    return await doctor.findings(Kept(outcome))  # type: ignore[arg-type]


async def test_all_is_well_but_for_records_on_no_volume(own: Any) -> None:
    door, records, certificate = await examine(place())
    assert (door.state, records.state, certificate.state) == ("ok", "warning", "ok")
    assert "pod offload-keeper-1 of namespace ann" in door.message
    assert "valid for 60 days" in certificate.message
    assert "volumes and mounts" in str(records.hint)


@pytest.mark.parametrize(
    ("by_older", "remedy"),
    [(True, "when its 2 clusters have ended"), (False, "write another image into placement.yaml")],
)
async def test_another_release_is_named_with_what_mends_it(own: Any, by_older: bool, remedy: str) -> None:
    door = (await examine(place("0.0.1", by_older=by_older)))[0]
    assert door.state == "warning"
    assert f"of release 0.0.1; this host has {__version__}" in door.message
    assert remedy in str(door.hint)


async def test_a_certificate_that_was_not_renewed_is_told(own: Any) -> None:
    certificate = (await examine(place(days=5)))[-1]
    assert (certificate.state, "5 days" in certificate.message) == ("warning", True)
    assert "patch secrets" in str(certificate.hint)


async def test_a_door_that_does_not_answer_is_an_error(own: Any) -> None:
    found = await examine(place(away=True))
    assert [f.state for f in found] == ["error", "warning"]
    assert "kubectl -n ann logs offload-keeper-1" in str(found[0].hint)


async def test_why_there_is_no_pod(own: Any) -> None:
    problems = [FieldProblem(field=f, message=f"{f} is wrong", hint="mend it") for f in ("cores", "port")]
    found = await examine(
        Unavailable(ProblemCode.keeper_unreachable, "cores is wrong", hint="mend it", errors=problems)
    )
    assert [(f.state, "wrong" in f.message, f.hint) for f in found] == [("error", True, "mend it")] * 2
    coming = await examine(NotYet(Unavailable(ProblemCode.keeper_unreachable, "On its way.")))
    assert [(f.state, f.message) for f in coming] == [("warning", "On its way.")]
