"""How the site misbehaves, on demand: a file that whoever tests writes and the plugin reads before each answer."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE = "behaviour.json"


@dataclass(frozen=True)
class Behaviour:
    """What real plugins were seen to do. Without anything set, the site behaves.

    Attributes:
        create_delay_s: an answer to ``/create`` takes so long; what it is asked for meanwhile is not ordered after it.
        create_status: HTTP status of an answer to ``/create``, such as 201 or 500; the job runs all the same.
        tombstones: a deletion that comes before the end of its creation counts.
        lose_delete: a deletion is answered and forgotten.
        status: ``null`` knows no pod, ``stale`` answers what was true when this was set.
        capacity_zero: its ping says that it has nothing (interLink's issue 558).
        ping: what a ping is answered instead, verbatim; ``None`` = the truth.
        silent: it takes connections and answers nothing.
        refuse: a sentence with which each pod is refused.
        queue: what pods wait for in its queue, all of them.
        gpus_free: at most so many of each accelerator are free.
        drop_secrets: Secret volumes are lost on the way to the job.
    """

    create_delay_s: float = 0
    create_status: int = 200
    tombstones: bool = True
    lose_delete: bool = False
    status: str | None = None
    capacity_zero: bool = False
    ping: str | None = None
    silent: bool = False
    refuse: str | None = None
    queue: str | None = None
    gpus_free: int | None = None
    drop_secrets: bool = False


def read(folder: Path) -> Behaviour:
    """Return what was written last; good behaviour where nothing was."""
    try:
        return Behaviour(**json.loads((folder / FILE).read_text()))
    except FileNotFoundError:
        return Behaviour()


def write(folder: Path, behaviour: Behaviour) -> None:
    """Let the plugin behave so from its next answer on."""
    new = folder / f"{FILE}.new"
    new.write_text(json.dumps(asdict(behaviour)))
    os.replace(new, folder / FILE)


def names() -> set[str]:
    """Return what may be set."""
    return {field.name for field in fields(Behaviour)}
