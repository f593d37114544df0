"""Entry by path: ``python <here>/__main__.py zygote SOCKET | supervise LAUNCH_JSON``.

Python puts the folder of a script first on ``sys.path``; that entry is taken away again and the folder is registered as
one private package, so that no module of ours can shadow one of the user's environment. The folder ``relay`` beside it is
another one, for clusters whose workers come through a relay.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PRIVATE_NAME = "_jupyter_offload_scheduler"
RELAY_NAME = "_jupyter_offload_relay"


def register(folder: Path) -> None:
    """Make ``folder`` and the one beside it importable as private packages and as nothing else."""
    if sys.path and sys.path[0] and Path(sys.path[0]).resolve() == folder:
        del sys.path[0]
    _register(folder, PRIVATE_NAME)
    _register(folder.parent / "relay", RELAY_NAME)


def _register(folder: Path, name: str) -> None:
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} holds no package")
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{PRIVATE_NAME}.{name}")


def main(arguments: list[str]) -> int:
    """Run one of the two commands and return the exit status."""
    if len(arguments) != 2 or arguments[0] not in ("zygote", "supervise"):
        print("usage: __main__.py zygote SOCKET | supervise LAUNCH_JSON", file=sys.stderr)
        return 2
    register(Path(__file__).resolve().parent)
    command, path = arguments
    if command == "zygote":
        status: int = _module("zygote").main(path)
    else:
        status = _module("begin").main_cold(path)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
