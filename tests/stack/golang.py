"""Programs built from Go modules, once, into the cache under the hash of what they are made from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .folders import cache_folder, locked

#: A cold build of the largest part takes some minutes on a quiet machine; a loaded one gets more patience.
BUILD_TIMEOUT_S = 3600
#: Where Go's own archives install it.
USUAL_PLACE = Path("/usr/local/go/bin/go")


class CannotBuild(RuntimeError):
    """A program could not be built; the message says why and what to do."""


@dataclass(frozen=True)
class GoModule:
    """A folder with ``go.mod`` and ``go.sum``, and the programs that are built from it.

    Args:
        folder: the module; only read.
        name: first part of the folder's name in the cache.
        programs: package of each program's ``main``, by the program's name.
        versions: for the linker: the module whose version a variable gets, by the variable's name.
    """

    folder: Path
    name: str
    programs: dict[str, str]
    versions: dict[str, str]

    @property
    def output(self) -> Path:
        """The folder with the programs; exists only when all of them are built."""
        made_from = [(self.folder / name).read_bytes() for name in ("go.mod", "go.sum")]
        described = json.dumps([self.programs, self.versions, platform.system(), platform.machine()]).encode()
        return cache_folder() / f"{self.name}-{hashlib.sha256(b'|'.join([*made_from, described])).hexdigest()[:16]}"

    def program(self, name: str) -> Path:
        return self.output / name

    def is_built(self) -> bool:
        return self.output.is_dir()

    def version(self, path: str) -> str:
        """Return the version of a required module, as ``v1.2.3``."""
        found = re.search(
            rf"^\s*(?:require )?{re.escape(path)} (v\S+)", (self.folder / "go.mod").read_text(), re.MULTILINE
        )
        if found is None:
            raise CannotBuild(f"{self.folder / 'go.mod'} does not require {path}.")
        return found[1]

    def build(self) -> Path:
        """Build what is not there yet and return the folder.

        Raises:
            CannotBuild: Go is missing, or it failed.
        """
        with locked(cache_folder() / f"{self.name}.lock"):
            if not self.is_built():
                self._build()
        return self.output

    def _build(self) -> None:
        print(f"Building {', '.join(self.programs)} (some minutes, once) ...", file=sys.stderr, flush=True)
        for left in cache_folder().glob(f"{self.name}-*.part"):  # by a build that was killed
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=f"{self.name}-", suffix=".part", dir=cache_folder()))
        # Kept when the build fails, so that the next one goes on there; gigabytes, so not kept when it is done.
        compiled = cache_folder() / f"{self.name}-go-build"
        try:
            go = go_command(self.folder)
            values = " ".join(f"-X {variable}={self.version(path)}" for variable, path in self.versions.items())
            for name, package in self.programs.items():
                options = ["-p", "2", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {values}"]
                _run(
                    ["nice", "-n", "10", go, "build", *options, "-o", str(part / name), package],
                    self.folder,
                    GOCACHE=str(compiled),
                )
            part.rename(self.output)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(compiled, ignore_errors=True)


def go_command(module: Path) -> str:
    """Return a Go that is new enough for a module's ``go.mod``, or that gets one which is (since 1.21).

    Older ones, as Debian 12 has, are new enough to download the same toolchain as an ordinary module, checked by Go's
    checksum database.

    Raises:
        CannotBuild: there is no Go at all, or it failed.
    """
    go = shutil.which("go") or (str(USUAL_PLACE) if USUAL_PLACE.exists() else None)
    if go is None:
        raise CannotBuild("Building this part of the test stack needs Go. Install it (Debian: apt install golang-go).")
    wanted = re.search(r"^go ((\d+)\.(\d+)\S*)", (module / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None, f"{module / 'go.mod'} says no version of Go"
    major, minor = re.findall(r"\d+", _run([go, "env", "GOVERSION"], Path("/")))[:2]
    if (int(major), int(minor)) >= min((1, 21), (int(wanted[2]), int(wanted[3]))):
        return go
    system, machine = _run([go, "env", "GOOS", "GOARCH"], Path("/")).split()
    toolchain = f"golang.org/toolchain@v0.0.1-go{wanted[1]}.{system}-{machine}"
    root = Path(json.loads(_run([go, "mod", "download", "-json", toolchain], Path("/")))["Dir"])
    for file in [*(root / "bin").iterdir(), *(root / "pkg/tool").rglob("*")]:
        file.chmod(0o755)  # modules have no executable files
    return str(root / "bin/go")


def _run(command: list[str], folder: Path, **environment: str) -> str:
    """Run Go and return what it printed."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("GOROOT", "GOFLAGS", "GOOS", "GOARCH")
    }
    fixed = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOWORK": "off"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=inherited | fixed | environment, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CannotBuild(f"{' '.join(command)} took more than {BUILD_TIMEOUT_S} s.") from error
    if done.returncode:
        raise CannotBuild(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout
