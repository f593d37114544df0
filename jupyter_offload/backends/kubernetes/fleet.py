"""The workers of one cluster between two looks: takes in what pods and the scheduler say, and tells the card. No requests here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...api.models import Profile, Reason, ReasonCode, WorkerStage
from ...ports import Handle, WorkersSeen
from .options import KubernetesOptions
from .reading import Why, read_pod, why_ended
from .storm import Failures
from .tracking import Track

_DELETED = Why(
    ReasonCode.ended_by_site,
    "Its pod was deleted, not by us.",
    "Ask who deletes pods in that namespace; it is replaced.",
)
_NEVER_MADE = Why(
    ReasonCode.site_silent, "Its pod was never made: the API server did not answer in time.", "It is asked for anew."
)
#: A name that was saved and whose pod never appeared is given up after this.
NEVER_MADE_S = 120.0
#: For how long a lost worker that nobody waits for is still shown.
_SHOW_LOST_S = 120.0


class Fleet:
    """All workers of a cluster that this keeper knows."""

    def __init__(self, options: KubernetesOptions, *, virtual: bool) -> None:
        self._options = options
        self._virtual = virtual
        self.tracks: dict[str, Track] = {}
        #: Workers that are over and done with, whatever an older handle or a pod that is being deleted says.
        self.forgotten: set[str] = set()
        #: Workers of which there is a pod and nobody knows why.
        self.strays: list[str] = []
        #: How long workers took from being asked for to being proven, in seconds; whoever wants to know takes them.
        self.arrivals: list[float] = []

    # ------------------------------------------------------------ a look
    def take_in(
        self,
        handle: Handle,
        pods: Mapping[str, Mapping[str, Any]],
        status: Mapping[str, Any] | None,
        now: float,
    ) -> list[Track]:
        """Take in a look; return workers whose pods are over, so that somebody may read their logs (``ended``).

        Args:
            handle: of the cluster.
            pods: its pods, by worker.
            status: what the scheduler process says, None if it cannot be asked.
            now: seconds since the epoch.
        """
        told = {str(w["name"]): w for w in status["workers"]} if status else {}
        refused = {str(r["name"]): r for r in status.get("refused") or ()} if status else {}
        entries: Mapping[str, Mapping[str, Any]] = handle.get("workers", {})
        over = []
        self.strays = [n for n in pods if n in self.forgotten or not (n in entries or n in self.tracks)]
        for name in dict.fromkeys([*entries, *(n for n in pods if n in self.tracks)]):
            if name in self.forgotten:
                continue
            pod, fresh = pods.get(name), name not in self.tracks
            if fresh and pod is None and name not in told:
                continue  # asked for in this moment, or long forgotten
            entry = entries.get(name, {})
            track = self.tracks.setdefault(name, Track(name, since=float(entry.get("asked_at", now))))
            track.retiring = track.retiring or bool(entry.get("retiring"))
            sight = read_pod(pod, virtual=self._virtual) if pod is not None else None
            known = told.get(name) if status is not None else (track.told or None)
            came = track.proven_at is None
            track.see(sight, known, now)
            if came and track.proven_at is not None and not fresh:
                self.arrivals.append(now - float(entry.get("asked_at", now)))
            if track.lost is not None:
                continue
            if name in refused:
                track.lose(_refusal(refused[name]), now)
            elif known is None and sight is not None and sight.over:
                if not track.retiring:
                    over.append(track)
            elif known is None and sight is None and status is not None and not track.retiring:
                if track.had_pod:
                    track.lose(_DELETED, now)
                elif now - track.since > NEVER_MADE_S:
                    track.lose(_NEVER_MADE, now)
            else:
                track.give_up_when_late(self._options.deadlines, now)
        return over

    def forget(self, worker: str) -> None:
        """Let go of a worker for good."""
        self.tracks.pop(worker, None)
        self.forgotten.add(worker)

    @staticmethod
    def ended(track: Track, log_tail: str, now: float) -> None:
        """Note why a worker is over, with the end of its log."""
        assert track.sight is not None
        track.lose(why_ended(track.sight, log_tail), now)

    # ------------------------------------------------------------ for the card
    def seen(self, handle: Handle, profile: Profile, placement: Reason | None, now: float) -> WorkersSeen:
        """Return what the keeper is told. ``placement`` is why no pod would start at the site now."""
        failures = Failures.load(handle.get("failures", {}))
        workers = [t.worker(profile, self._options.deadlines) for t in self._shown(handle, now)]
        return WorkersSeen(workers=workers, problem=self._problem(failures, placement, handle), halted=failures.halted)

    def _shown(self, handle: Handle, now: float) -> Iterator[Track]:
        living = [t for t in self.tracks.values() if t.lost is None]
        enough = len(living) >= int(handle.get("target", 0))
        yield from living
        for track in self.tracks.values():
            if track.lost is not None and not (enough and now - track.lost_at > _SHOW_LOST_S):
                yield track

    def _problem(self, failures: Failures, placement: Reason | None, handle: Handle) -> Reason | None:
        if failures.halted:
            return _halted(failures)
        missing = [t for t in self.tracks.values() if not t.told and t.lost is None and not t.retiring]
        if not missing and len(self.tracks) >= int(handle.get("target", 0)) and not failures.at:
            return None
        early = [t for t in missing if t.stage in (WorkerStage.submitted, WorkerStage.scheduled)]
        if placement is not None and (early or not missing):
            return placement
        whys = [t.why for t in missing if t.why is not None]
        if whys:
            return _most_common(whys)
        if failures.at and failures.told:
            told = failures.told
            code = ReasonCode(told["code"])
            return Reason(code=code, message=f"The last one failed: {told['message']}", hint=told.get("hint"))
        return None


def _most_common(whys: Sequence[Why]) -> Reason:
    code, number = Counter(w.code for w in whys).most_common(1)[0]
    why = next(w for w in whys if w.code is code)
    others = f" ({number} of them)" if number > 1 else ""
    return Reason(code=code, message=f"{why.message}{others}", hint=why.hint)


def _halted(failures: Failures) -> Reason:
    told = failures.told
    return Reason(
        code=ReasonCode.workers_failing,
        message=f"{len(failures.at)} workers in a row failed, so no more are started. The last one: {told.get('message')}",
        hint=f"{told.get('hint') or 'Look at the timeline.'} Then ask for another number of workers, or start again.",
    )


def _refusal(told: Mapping[str, Any]) -> Why:
    known = {c.value: c for c in ReasonCode}
    code = known.get(str(told.get("code")), ReasonCode.worker_unreachable)
    return Why(code, str(told.get("message") or "The scheduler turned it away."), told.get("hint"))
