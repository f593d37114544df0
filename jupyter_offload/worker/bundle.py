"""The file that travels: run by a Python it is a worker, on ``PYTHONPATH`` it gives Dask the scheme ``relay``.

It holds the Dask end of the relay (``relay/bundle.py``), this package, and the modules of ``scheduler`` that local workers use
too, as one package beside it. Nothing has to be installed at the site.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .. import __version__
from ..relay.bundle import contents as relay_contents
from ..relay.bundle import write_zip

PACKAGE = "jupyter_offload_site"
_ROOT = Path(__file__).parent.parent
#: Of this package; ``bundle.py`` stays at home.
_OWN = ("__init__", "boot", "checks", "endings", "files", "inside", "job", "run", "surroundings", "why")
#: What local workers do in their processes as well.
_SHARED = ("__init__", "malloc", "memory", "memory_return", "modules", "versions")
_MAIN = f"""import sys

if sys.version_info < (3, 8):  # too old even to say it properly
    print('offload-end: {{"code": "version-mismatch", "message": "The image has a Python older than 3.8.", "hint": "Choose another."}}')
    sys.exit(64)
from {PACKAGE}.worker.boot import main

if __name__ == "__main__":  # processes that a task spawns may import this file
    sys.exit(main(sys.argv[1:]))
"""


@cache
def worker_bundle() -> bytes:
    """Return the file: the same bytes for the same sources, under 150 KiB."""
    file = io.BytesIO()
    write_zip(file, _contents())
    return file.getvalue()


def _contents() -> Iterator[tuple[str, str]]:
    yield "__main__.py", _MAIN
    yield f"{PACKAGE}/__init__.py", f'"""A worker of jupyter_offload {__version__} at a site."""\n'
    for folder, names in (("worker", _OWN), ("scheduler", _SHARED)):
        for name in names:
            text = (_ROOT / folder / f"{name}.py").read_text(encoding="utf-8")
            yield f"{PACKAGE}/{folder}/{name}.py", text
    yield from relay_contents(__version__)
