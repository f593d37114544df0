"""Where things lie. One keeper per user, host and Jupyter data dir; tests get their own by setting JUPYTER_DATA_DIR.

Records, connection folders and logs lie in the Jupyter data dir, which may be a network home. Sockets lie in a short private
folder of this host: a socket on a shared file system is a dead file on every other host, and its path may be too long
(104 bytes on macOS).
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import secrets
import stat
import tempfile
from pathlib import Path

from jupyter_core.paths import jupyter_config_path, jupyter_data_dir

from .problems import Broken, ProblemCode

#: The address of its pod, for a keeper in a pod of its own.
ADDRESS = "JUPYTER_OFFLOAD_ADDRESS"


def host_name() -> str:
    """Return the name that records carry for this host."""
    return platform.node() or "localhost"


def owner_name() -> str:
    """Return the user name that records and labels carry."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container user without a passwd entry
        return f"uid-{os.getuid()}"


def owner_id() -> str:
    """Return the random name of this data folder, made on first use: what is left at sites is known by it.

    A user name would not do: in containers all users have the same one, and the same paths.

    Raises:
        OSError: the folder cannot be written.
    """
    path = data_folder() / "owner-id"
    try:
        known = path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f".owner-id-{secrets.token_hex(8)}")
        new.write_text(secrets.token_hex(8))
        try:
            os.link(new, path)  # whoever is first decides, whole or not at all
        except FileExistsError:
            pass
        finally:
            new.unlink()
        known = path.read_text().strip()
    return known


def take_owner_id(owner: str) -> None:
    """Make this the name of this data folder, where it has none yet.

    Raises:
        ValueError: it has another one.
        OSError: the folder cannot be written.
    """
    path = data_folder() / "owner-id"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with path.open("x") as file:
            file.write(owner)
    except FileExistsError:
        if owner_id() != owner:
            raise ValueError(f"{path.parent} belongs to the owner {owner_id()}, not to {owner}") from None


def in_own_pod() -> bool:
    """Tell whether this is a pod that was made for the keeper."""
    return bool(os.environ.get(ADDRESS))


def kernel_address() -> str:
    """Return the address of this host that kernels reach schedulers at: loopback, unless the keeper has a pod of its own."""
    return os.environ.get(ADDRESS) or "127.0.0.1"


def data_folder() -> Path:
    """Return ``<jupyter data dir>/offload`` (not created)."""
    return Path(jupyter_data_dir()) / "offload"


def sites_folders() -> list[Path]:
    """Return the folders of site files, most specific first."""
    return [Path(p) / "offload" / "sites" for p in jupyter_config_path()]


def relay_files() -> list[Path]:
    """Return the places of the file that says which relay to use, most specific first."""
    return [Path(p) / "offload" / "relay.yaml" for p in jupyter_config_path()]


def placement_file() -> Path | None:
    """Return the file that places keepers in pods of their own, None where there is none, and in such a pod."""
    if in_own_pod():
        return None
    files = (Path(p) / "offload" / "placement.yaml" for p in jupyter_config_path())
    return next((p for p in files if p.exists()), None)


def runtime_folder() -> Path:
    """Return this keeper's private folder for sockets, creating it 0700.

    Raises:
        Broken: the folder exists and belongs to somebody else or is open to others.
    """
    key = hashlib.sha256(f"{os.path.realpath(jupyter_data_dir())}\n{host_name()}".encode()).hexdigest()[:12]
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir() and os.access(base, os.W_OK) and len(base) <= 40:
        parent = Path(base) / "jupyter-offload"
    else:
        root = tempfile.gettempdir()
        parent = Path(root if len(root) <= 40 else "/tmp") / f"jupyter-offload-{os.getuid()}"  # noqa: S108
    for folder in (parent, parent / key):
        _private(folder)
    return parent / key


def _private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise Broken(
            ProblemCode.internal,
            f"{folder} is not a private folder of yours, so sockets cannot be put there.",
            hint=f"Remove it, or set XDG_RUNTIME_DIR to a folder with mode 0700: rm -r {folder}",
        )


def socket_path() -> Path:
    """Return the keeper's socket."""
    return runtime_folder() / "keeper.sock"


def lock_path() -> Path:
    """Return the file whose lock the running keeper holds."""
    return runtime_folder() / "keeper.lock"


def relay_token_path() -> Path:
    """Return the private file through which a session hands the keeper its token for the facility's relay."""
    return runtime_folder() / "relay-token"


def keeper_log_path() -> Path:
    """Return the keeper's own log."""
    return data_folder() / "keeper.log"


def doorway_log_path() -> Path:
    """Return the log of the doorway to a keeper in a pod of its own."""
    return data_folder() / "doorway.log"
