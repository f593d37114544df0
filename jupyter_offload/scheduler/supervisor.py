"""The supervisor of one cluster: forks scheduler and workers, reaps them, starts again what should be there.

Single-threaded for ever and without an event loop, so that forking stays safe. Nothing in here may block.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator

from . import become as child
from .endings import end_orphans, group_lives, verdict, write_exit
from .files import last_lines
from .launch import Launch
from .line import Line, Message
from .memory import MemoryWatch
from .slots import START_ATTEMPTS, Cause, Slot, how_it_ended

log = logging.getLogger("offload.supervisor")

#: A worker that was told to close has this long before it is killed.
CLOSE_GRACE_S = 2.0
STOP_GRACE_S = 10.0
#: Workers forked before the scheduler listens; they make themselves ready meanwhile and wait for its address.
EAGER_WORKERS = 8
_LOST_SCHEDULER_GRACE_S = 1.0


class Supervisor:
    """Runs one cluster until it is stopped or its scheduler is gone."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._slots: dict[str, Slot] = {}
        self._groups: dict[int, float] = {}  # process groups of dead workers, and when to kill what is left of them
        self._address: str | None = None
        self._ready = False
        self._stopping = False
        self._scheduler_pid = 0
        self._scheduler_status: int | None = None
        self._scheduler_kill_at: float | None = None
        self._gave_up = False
        self._memory = MemoryWatch(launch.worker.memory_bytes)

    # ------------------------------------------------------------ life
    def run(self) -> int:
        """Supervise to the end; return the exit status of this process."""
        child.adopt_orphans()
        wake, self._wake = os.pipe()
        for end in (wake, self._wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # the byte in the pipe is what counts
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._wake_read = wake
        try:
            self._start_scheduler()
            for index in range(self._launch.workers):
                self._add(f"w{index}")
            while not self._finished():
                self._turn()
        except BaseException:
            log.exception("The supervisor ends by an error of its own")
            self._kill_everything()
            raise
        finally:
            self._leave()
        return 0

    def _finished(self) -> bool:
        gone = self._scheduler_status is not None
        return gone and all(slot.pid is None for slot in self._slots.values()) and not self._groups

    def _turn(self) -> None:
        reads: list[int | Line] = [self._wake_read, *([self._line] if self._line.open else [])]
        writes = [self._line] if self._line.wants_write else []
        readable, writable, _ = select.select(reads, writes, [], self._wait_s())
        self._reap()  # first, so that a death is seen before the scheduler tells that contact is lost
        if writable:
            self._line.flush()
        if self._line in readable:
            for message in self._line.receive():
                self._obey(message)
        if self._wake_read in readable and signal.SIGTERM in os.read(self._wake_read, 1 << 12):
            log.info("Asked to end (SIGTERM)")
            self._stop(STOP_GRACE_S)
        self._timers(time.monotonic())

    def _wait_s(self) -> float | None:
        times = [*self._groups.values()]
        for slot in self._slots.values():
            times += [at for at in (slot.kill_at, slot.start_at) if at is not None]
        if self._scheduler_kill_at is not None:
            times.append(self._scheduler_kill_at)
        wait_s = max(0.0, min(times) - time.monotonic()) if times else None
        if self._memory.interval_s and any(slot.pid for slot in self._slots.values()):
            wait_s = self._memory.interval_s if wait_s is None else min(wait_s, self._memory.interval_s)
        return wait_s

    # ------------------------------------------------------------ starting
    def _start_scheduler(self) -> None:
        ours, theirs = socket.socketpair()
        self._line = Line(ours)
        me = os.getpid()

        def run() -> int:
            child.become("offload-scheduler", self._launch.log("scheduler"), die_with=me)
            from .scheduler_process import main

            return main(self._launch, theirs)

        self._scheduler_pid = child.fork(run, close=(ours.fileno(), self._wake, self._wake_read))
        theirs.close()
        log.info("Scheduler process %d started", self._scheduler_pid)

    def _add(self, name: str) -> None:
        slot = self._slots[name] = Slot(name)
        if self._address is None and len(self._slots) > EAGER_WORKERS:
            return  # once the scheduler listens
        self._start_worker(slot)

    def _start_worker(self, slot: Slot) -> None:
        slot.start_at = None
        me, address = os.getpid(), self._address
        gate_read, gate_write = os.pipe() if address is None else (None, None)
        close = [self._wake, self._wake_read, *self._gates()]
        if self._line.open:
            close.append(self._line.fileno())
        if gate_write is not None:
            close.append(gate_write)

        def run() -> int:
            os.setpgid(0, 0)
            child.become(f"offload-worker {slot.name}", self._launch.log(slot.name), die_with=me)
            from .worker_process import main

            return main(self._launch, slot.name, address, gate_read)

        try:
            pid = child.fork(run, close)
        except OSError as error:
            log.error("Cannot start %s: %s", slot.name, error)  # noqa: TRY400  (the reason says it all)
            if gate_write is not None:
                os.close(gate_write)
            self._after_death(slot, f"could not be started: {error}")
            return
        finally:
            if gate_read is not None:
                os.close(gate_read)
        slot.gate = gate_write
        slot.started(pid)
        log.info("Worker %s started as process %d", slot.name, pid)
        self._report(slot, "starting")

    def _gates(self) -> Iterator[int]:
        return (slot.gate for slot in self._slots.values() if slot.gate is not None)

    def _open_gates(self, address: str) -> None:
        self._address = address
        for slot in list(self._slots.values()):
            if slot.gate is not None:
                with contextlib.suppress(BrokenPipeError):
                    os.write(slot.gate, address.encode())
                os.close(slot.gate)
                slot.gate = None
            elif slot.pid is None and slot.start_at is None and not slot.failed:
                self._start_worker(slot)

    # ------------------------------------------------------------ what the scheduler process asks for
    def _obey(self, message: Message) -> None:
        op, slot = message["op"], self._slots.get(message.get("name", ""))
        if op == "listening":
            self._open_gates(message["address"])
        elif op == "ready":
            self._ready = True
        elif op == "start":
            for name in message["names"]:
                if not self._stopping and name not in self._slots:
                    self._gave_up = False
                    self._add(name)
        elif op == "stop":
            self._stop(float(message["grace_s"]))
        elif slot is not None and op == "connected" and slot.pid == message["pid"]:
            slot.connected(time.monotonic())
        elif slot is not None and op == "retired":
            self._retire(slot)
        elif slot is not None and op == "replace" and slot.pid == message["pid"]:
            slot.cause = Cause(message["cause"])
            slot.kill_at = time.monotonic() + CLOSE_GRACE_S

    def _retire(self, slot: Slot) -> None:
        slot.wanted, slot.start_at = False, None
        if slot.pid is None:
            self._forget(slot)
        else:
            self._signal(slot.pid, signal.SIGTERM)
            slot.kill_at = time.monotonic() + CLOSE_GRACE_S

    def _stop(self, grace_s: float) -> None:
        """End everything: the scheduler closes its workers; who is left after ``grace_s`` is killed."""
        if self._stopping:
            return
        log.info("Stopping the cluster")
        self._stopping = True
        kill_at = time.monotonic() + max(0.0, grace_s)
        self._scheduler_kill_at = kill_at
        self._line.send({"op": "stop"})
        if not self._ready:  # it does not listen to us yet
            self._signal(self._scheduler_pid, signal.SIGTERM)
        for slot in list(self._slots.values()):
            if slot.connected_at is None:
                self._retire(slot)
            slot.wanted, slot.kill_at = False, kill_at  # the scheduler tells those that are connected

    # ------------------------------------------------------------ ends
    def _reap(self) -> None:
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            status = os.waitstatus_to_exitcode(raw)
            if pid == self._scheduler_pid:
                self._scheduler_ended(status)
            slot = next((s for s in self._slots.values() if s.pid == pid), None)
            if slot is not None:
                self._worker_ended(slot, pid, status)

    def _scheduler_ended(self, status: int) -> None:
        log.info("The scheduler %s", how_it_ended(status))
        self._scheduler_status, self._scheduler_kill_at = status, None
        kill_at = time.monotonic() + _LOST_SCHEDULER_GRACE_S
        for slot in list(self._slots.values()):
            self._retire(slot)
            slot.kill_at = min(slot.kill_at or kill_at, kill_at)

    def _worker_ended(self, slot: Slot, pid: int, status: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # what its tasks started and left behind
            os.killpg(pid, signal.SIGTERM)
            self._groups[pid] = time.monotonic() + CLOSE_GRACE_S
        log.info("Worker %s (process %d) %s", slot.name, pid, how_it_ended(status))
        if slot.gate is not None:
            os.close(slot.gate)
            slot.gate = None
        self._after_death(slot, how_it_ended(status))

    def _after_death(self, slot: Slot, how: str) -> None:
        cause = slot.cause
        delay_s = slot.died(time.monotonic())
        if not slot.wanted:
            self._forget(slot)
            return
        if slot.failed:
            self._give_up(slot, how)
            return
        again = "It is started again." if not delay_s else f"It is started again in {delay_s:g} s."
        self._report(slot, "starting", f"{slot.name} {how}. {again}")
        if cause is Cause.client_restart:
            self._event("info", "worker-restarted", f"{slot.name} is restarted, as a client asked.", slot.name)
        elif cause is not Cause.over_memory:  # told when it was ended
            why = "did not answer any more and " if slot.killed else ""
            hint = ""
            if not slot.killed and how.endswith("(SIGKILL)"):
                hint = " Nobody here did that; a machine that runs out of memory does."
            self._event("warning", "worker-restarted", f"{slot.name} {why}{how}.{hint} {again}", slot.name)
        if not delay_s:
            self._start_worker(slot)

    def _give_up(self, slot: Slot, how: str) -> None:
        tail = last_lines(self._launch.log(slot.name))
        message = f"{slot.name} died {START_ATTEMPTS} times while starting and is not tried again; the last one {how}."
        if tail:
            message += f" Its log ends with:\n{tail}"
        self._report(slot, "failed", message)
        if not self._gave_up:  # one sentence for all that fail alike
            self._event("error", "workers-failing", message, slot.name)
        self._gave_up = True

    def _forget(self, slot: Slot) -> None:
        del self._slots[slot.name]
        self._report(slot, "gone")

    def _timers(self, now: float) -> None:
        for slot in list(self._slots.values()):
            if slot.kill_at is not None and slot.kill_at <= now and slot.pid is not None:
                log.warning("Worker %s does not end; killing it", slot.name)
                slot.killed = True
                self._signal(slot.pid, signal.SIGKILL)
                slot.kill_at = now + 1
            if slot.start_at is not None and slot.start_at <= now:
                self._start_worker(slot)
        for group in [group for group, at in self._groups.items() if at <= now or not group_lives(group)]:
            del self._groups[group]
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        if self._scheduler_kill_at is not None and self._scheduler_kill_at <= now:
            self._signal(self._scheduler_pid, signal.SIGKILL)
            self._scheduler_kill_at = now + 1
        for slot, used in self._memory.over_limit(self._slots.values(), now):
            self._end_over_memory(slot, used)

    def _end_over_memory(self, slot: Slot, used_bytes: int) -> None:
        assert slot.pid is not None
        limit = self._launch.worker.memory_bytes
        message = (
            f"{slot.name} used {used_bytes / 2**20:.0f} MiB of its {limit / 2**20:.0f} MiB and was ended. It is started"
            " again; its tasks run elsewhere. Give workers more memory or make the pieces of data smaller."
        )
        log.warning("%s", message)
        slot.cause = Cause.over_memory
        self._signal(slot.pid, signal.SIGKILL)
        self._event("warning", "worker-over-memory", message, slot.name)

    @staticmethod
    def _signal(pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def _kill_everything(self) -> None:
        for pid in [self._scheduler_pid, *(slot.pid for slot in self._slots.values())]:
            if pid:
                self._signal(pid, signal.SIGKILL)

    # ------------------------------------------------------------ telling
    def _report(self, slot: Slot, state: str, message: str | None = None) -> None:
        self._line.send(
            {"op": "slot", "name": slot.name, "state": state, "pid": slot.pid, "restarts": slot.restarts,
             "message": message}
        )  # fmt: skip

    def _event(self, level: str, code: str, message: str, worker: str) -> None:
        self._line.send({"op": "event", "level": level, "code": code, "message": message, "worker": worker})

    def _leave(self) -> None:
        end_orphans()
        for path in (self._launch.control_socket, self._launch.dashboard_socket):
            path.unlink(missing_ok=True)
        shutil.rmtree(self._launch.spill / "dask-scratch-space", ignore_errors=True)
        code, message = verdict(self._launch, self._scheduler_status, ready=self._ready, asked=self._stopping)
        log.info("%s", message)
        write_exit(self._launch, code, message, self._scheduler_status)
