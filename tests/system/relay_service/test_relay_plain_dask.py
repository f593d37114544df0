"""The page for those who start Dask by hand, followed word by word."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .relay_process import DOMAIN, RelayProcess

PAGE = Path(__file__).parents[3] / "docs/how-to/use-the-relay-with-plain-dask.md"
#: On the relay's own host, as the page says.
BY_TOKEN, BY_SOCKET = "$RELAY --ca-file $RELAY_CA --token-file $TOKEN", f"$SOCKET --domain {DOMAIN}"
PATIENCE_S = 60


def blocks() -> list[tuple[str, str]]:
    """Return language and text of each block of the page."""
    return re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


class Terminal:
    """Types what the page says, in one folder."""

    def __init__(self, folder: Path, relay: RelayProcess) -> None:
        self._folder = folder
        own = {k: v for k, v in os.environ.items() if not k.startswith(("DASK_", "PYTHON"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._env = own | {
            "PATH": path, "RELAY": f"127.0.0.1:{relay.port}", "RELAY_CA": str(relay.ca_file), "SOCKET": str(relay.socket)
        }  # fmt: skip
        self._open: list[tuple[subprocess.Popen[bytes], Path]] = []

    def type(self, command: str) -> str:
        """Run a command to its end; return what it says."""
        if command.startswith("jupyter offload relay credentials"):
            command = command.strip() + f" --domain {DOMAIN}"  # the page's relay is reached by its own name
        done = subprocess.run(
            ["bash", "-ec", command.replace(BY_TOKEN, BY_SOCKET)], cwd=self._folder, env=self._env, capture_output=True,
            text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.said()}"
        return done.stdout

    def leave_running(self, command: str, until: str) -> subprocess.Popen[bytes]:
        """Start a command in a terminal of its own, and wait until it says something."""
        log = self._folder / f"log{len(self._open)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command.replace(BY_TOKEN, BY_SOCKET)}" if "=" not in command.split()[0] else command],
                cwd=self._folder, env=self._env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self._open.append((process, log))
        self.wait(lambda: until in log.read_text())
        return process

    def wait(self, seen: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not seen():
            assert time.monotonic() < deadline, self.said()
            assert all(p.poll() is None for p, _ in self._open), self.said()
            time.sleep(0.05)

    def said(self) -> str:
        return "".join(f"\n--- {log.name}\n{log.read_text()}" for _, log in self._open)

    def close(self) -> None:
        for process, _ in reversed(self._open):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


@pytest.fixture
def terminal(tmp_path: Path, make_relay: Callable[..., RelayProcess]) -> Iterator[Terminal]:
    relay = make_relay()
    relay.start()
    made = Terminal(tmp_path, relay)
    yield made
    made.close()


def test_the_page_leads_to_a_result_and_a_revoked_job_goes(terminal: Terminal, tmp_path: Path) -> None:
    (_, credentials), (_, admit), (_, scheduler), (_, bundle), (_, worker), (language, client), (_, revoke) = blocks()
    assert language == "python"
    made = terminal.type(credentials).split()
    assert [Path(folder).name for folder in made] == ["scheduler", "client", "a", "b"]
    assert {oct(f.stat().st_mode & 0o777) for f in Path(made[2]).glob("*.pem")} == {"0o600"}
    assert "ca-key.pem" not in {f.name for f in Path(made[2]).iterdir()}, "a job must not be able to make certificates"
    holding = terminal.leave_running(admit, "lets the cluster in")
    terminal.leave_running(scheduler, "Scheduler at:")
    terminal.type(bundle)
    terminal.leave_running(worker, "Registered to:")
    (tmp_path / "client.py").write_text(client)
    assert terminal.type("python client.py") == "6\n"

    terminal.type(credentials.replace("--job b", "--job c"))  # again, with one more: what is there stays
    assert (Path(made[2]).parent / "c").is_dir()
    assert terminal.type("python client.py") == "6\n"

    revoking = terminal.type(revoke)
    assert "w-a-*" in revoking
    counting = (
        "from dask.distributed import Client; print(len(Client('relay://scheduler').scheduler_info()['workers']))"
    )
    command = f'DASK_CONFIG=my-cluster/client/dask.yaml python -c "{counting}"'
    terminal.wait(lambda: terminal.type(command) == "0\n")

    holding.send_signal(signal.SIGINT)
    assert holding.wait(20) == 130
    terminal._open.pop(0)
    with pytest.raises(AssertionError, match="not admitted"):
        terminal.type(revoke)


@pytest.mark.parametrize(
    ("command", "status", "why"),
    [
        ("credentials f relay.example.org:443 --job A_b", 2, "--job: 'A_b' is no name of a job"),
        ("credentials f relay.example.org:x", 2, "is not host:port"),
        ("credentials /proc/f relay.example.org:443", 1, "Choose a folder that you can write"),
        ("admit nowhere 127.0.0.1:1", 2, "cannot be read"),
        ("admit nowhere /no/socket", 2, "--domain"),
        ("bundle /proc/relay.zip", 1, "cannot be written"),
    ],
)
def test_mistakes_are_told(command: str, status: int, why: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_offload.cli", "relay", *command.split()], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, why in done.stderr) == (status, True), done.stderr
