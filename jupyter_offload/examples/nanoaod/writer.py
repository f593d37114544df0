"""Write blocks of events to ROOT files, one block in memory at a time, under a name that only complete files have."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from .physics import CONTENT_VERSION, Block, Collection, make_block
from .sample import Part, Sample, SampleExists

TREE_NAME = "Events"
PROVENANCE_NAME = "provenance"
#: Events held in memory, and of one TTree basket or RNTuple cluster. Part of what a seed means.
BLOCK_EVENTS = 100_000
#: A hidden file of a killed run is swept when nobody wrote to it for this long.
ABANDONED_S = 3600

#: Called with the file's name, events done and events of this file; done == events means complete, also when skipped.
Progress = Callable[[str, int, int], None]


def write_sample(
    folder: str | os.PathLike[str], sample: Sample, *, overwrite: bool = False, progress: Progress | None = None
) -> list[Path]:
    """Write the files of ``sample`` that are not there yet and return all their paths.

    A file appears under its name only when it is complete, so a run that was killed can simply be repeated.

    Raises:
        SampleExists: a file of that name holds other events and ``overwrite`` is false; nothing was written.
        OSError: the folder cannot be made or written, or the disk is full; no half file is left.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    report = progress or (lambda *_: None)
    parts = sample.parts()
    complete = {part.index: _is_complete(root / part.file_name, part, overwrite) for part in parts}
    for part in parts:
        if complete[part.index]:
            report(part.file_name, part.events, part.events)
        else:
            _write_part(root, part, report)
    return [root / part.file_name for part in parts]


def _is_complete(path: Path, part: Part, overwrite: bool) -> bool:
    if not path.exists():
        return False
    try:
        found = read_provenance(path)
    except Exception as error:  # uproot raises what the bytes make it trip over
        found, why = {}, f"cannot be read as one of ours ({type(error).__name__})"
    else:
        wanted = part.provenance(CONTENT_VERSION)
        differences = [
            f"{key} {found.get(key)!r} instead of {wanted[key]!r}" for key in wanted if found.get(key) != wanted[key]
        ]
        if not differences:
            return True
        why = f"holds another sample ({', '.join(differences)})"
    if overwrite:
        return False
    raise SampleExists(f"{path} {why}. Choose another folder, or overwrite it (--overwrite).")


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what made the file, with ``events`` as counted in the file itself."""
    with uproot.open(path, object_cache=None, array_cache=None) as file:
        stored = json.loads(file[PROVENANCE_NAME])
        return {**stored, "events": int(file[TREE_NAME].num_entries)}


def _write_part(root: Path, part: Part, report: Progress) -> None:
    _sweep(root, part)
    unfinished = root / f".{part.file_name}.{os.getpid()}.part"
    try:
        with uproot.recreate(unfinished, compression=_compression(part.sample)) as file:
            file[PROVENANCE_NAME] = json.dumps(part.provenance(CONTENT_VERSION))
            _write_events(file, part, report)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(root / part.file_name)
    finally:
        unfinished.unlink(missing_ok=True)
    report(part.file_name, part.events, part.events)


def _write_events(file: Any, part: Part, report: Progress) -> None:
    table = None
    for number, start in enumerate(range(0, part.events, BLOCK_EVENTS)):
        report(part.file_name, start, part.events)
        seed = np.random.SeedSequence(part.sample.seed, spawn_key=(part.index, number))
        size = min(BLOCK_EVENTS, part.events - start)
        block = make_block(np.random.default_rng(seed), size, part.first_event + start, part.sample.z_fraction)
        columns: Any = _tree_columns(block) if part.sample.format == "ttree" else _ntuple_columns(block)
        if part.sample.format == "rntuple":
            if table is None:
                table = file.mkrntuple(TREE_NAME, columns)
            else:
                table.extend(columns)
            continue
        if table is None:
            types = {n: c.dtype if isinstance(c, np.ndarray) else c.type.content for n, c in columns.items()}
            table = file.mktree(TREE_NAME, types, title=TREE_NAME)
        table.extend(columns)


def _jagged(collection: Collection) -> dict[str, Any]:
    return {name: ak.unflatten(column, collection.counts) for name, column in collection.columns.items()}


def _tree_columns(block: Block) -> dict[str, Any]:
    """Records of lists, which uproot writes as ``nMuon`` and ``Muon_pt[nMuon]``, as NanoAOD has them."""
    return {**block.scalars, **{name: ak.zip(_jagged(c)) for name, c in block.collections.items()}}


def _ntuple_columns(block: Block) -> Any:
    """The flat layout of a NanoAOD RNTuple: ``nMuon`` beside one vector field per property."""
    columns: dict[str, Any] = dict(block.scalars)
    for name, collection in block.collections.items():
        columns[f"n{name}"] = collection.counts
        columns.update({f"{name}_{key}": value for key, value in _jagged(collection).items()})
    return ak.Array(columns)


def _compression(sample: Sample) -> Any:
    name, level = sample.compression_level
    if name == "none":
        return None
    return {"zstd": uproot.ZSTD, "lz4": uproot.LZ4, "zlib": uproot.ZLIB, "lzma": uproot.LZMA}[name](level)


def _sweep(root: Path, part: Part) -> None:
    for left in root.glob(f".{part.file_name}.*.part"):
        if time.time() - left.stat().st_mtime > ABANDONED_S:
            left.unlink(missing_ok=True)
