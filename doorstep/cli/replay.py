"""`doorstep replay`: step a recorded log again and compare every decision with the recorded one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct, field

from actors.region.checkpoint import difference
from actors.region.segments import CutShort, Header, LogError, Segment, number_of, numbered
from domain.ground.times import instant
from domain.orders.lifecycle import OfferStatus
from domain.region.log.journal import FAILED, Chain, Entry, digest
from domain.region.log.trace import message_line, plan_line, ready_lines
from domain.region.machine import Region
from domain.region.messages import PlanReady, Ready
from domain.solve import Plan, SolveRequest
from solver.names import NOT_REPEATABLE

Say = Callable[[str], None]

PROGRESS_EVERY = 100_000  # messages

AGREES, DIFFERS, UNUSABLE = 0, 1, 2  # exit codes


class Disagreement(Exception):
    """A decision differs from the recorded one; the message says where and how."""


class Tally(Struct):
    """What a replay came upon."""

    segments: int = 0
    messages: int = 0
    epochs: set[int] = field(default_factory=set)  # one for each life
    offers: int = 0
    assignments: int = 0
    plans: int = 0  # solved again
    other_plans: list[str] = field(default_factory=list)  # what differed
    span_ms: int = 0  # server time
    wall_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    chain: Chain = field(default_factory=Chain)

    def count(self, ready: Ready) -> None:
        """Take a step's offers and assignments in."""
        for record in ready.records:
            for offer in record.offers:
                self.offers += offer.status is OfferStatus.OFFERED and offer.seen_ms is None
                self.assignments += offer.status is OfferStatus.ACCEPTED


def segments_of(log: Path) -> list[Path]:
    """The files of a log: itself, or all segments in a region's folder. `LogError` when there are none."""
    try:
        if not log.exists():
            raise LogError(f"There is no file or folder {log}.")
        if not log.is_dir():
            return [log]
        if found := [path for _, path in numbered(log)]:
            return found
        regions = sorted(folder for folder in log.iterdir() if folder.is_dir() and numbered(folder))
        if len(regions) > 1:
            names = ", ".join(folder.name for folder in regions)
            raise LogError(
                f"{log} holds the logs of several regions ({names}): name one of the folders in it."
            )
        if regions:
            return [path for _, path in numbered(regions[0])]
        raise LogError(f"There is no log in {log}.")
    except OSError as error:
        raise LogError(f"{log} cannot be read: {error.strerror}.") from None


class Replay:
    """Steps segments in order. `tally` is up to date also when a `Disagreement` or a `LogError` ends the replay."""

    def __init__(self, solve: Callable[[SolveRequest], Plan] | None, say: Say) -> None:
        self.tally = Tally()
        self._solve, self._say = solve, say
        self._asked: SolveRequest | None = None
        self._before: tuple[Path, Header, Region] | None = None

    def run(self, paths: Sequence[Path]) -> None:
        """Replay all files. `Disagreement` at the first decision that differs, `LogError` at what cannot be read."""
        started = time.perf_counter()
        try:
            for n, path in enumerate(paths, 1):
                self._say(f"segment {path.name} ({n} of {len(paths)})")
                try:
                    self._segment(path)
                except CutShort as error:
                    if len(paths) == 1:
                        raise
                    # The process was killed in that moment: the next segment begins with a state of its own.
                    self.tally.notes.append(str(error))
                    self._before = None
            if not self.tally.segments:
                raise LogError("No segment is whole enough to be replayed.")
        finally:
            self.tally.wall_s = time.perf_counter() - started

    def _segment(self, path: Path) -> None:
        with Segment(path) as segment:
            header, region = segment.header, segment.region()
            self._note_code(header)
            self._join(path, header, region)
            self.tally.segments += 1
            self.tally.epochs.add(header.epoch)
            now_ms = header.now_ms
            for number, entry in enumerate(segment.entries(), 1):
                self._step(path, number, region, entry)
                now_ms = entry.now_ms
                if self.tally.messages % PROGRESS_EVERY == 0:
                    self._say(
                        f"{self.tally.messages:,} messages, at {instant(now_ms):%Y-%m-%d %H:%M:%S} server time"
                    )
            self.tally.span_ms += now_ms - header.now_ms
            if segment.torn:
                self.tally.notes.append(
                    f"{path.name} ends in the middle of an entry ({segment.torn} bytes): whoever wrote it was killed"
                    " or is still writing."
                )
            self._before = (path, header, region)

    def _step(self, path: Path, number: int, region: Region, entry: Entry) -> None:
        try:
            ready = region.step(entry.now_ms, entry.message)
        except Exception as error:  # other code may fail where the recorded one decided
            if entry.digest == FAILED:
                self.tally.messages += 1
                self.tally.notes.append(
                    f"Entry {number} of {path.name} fails as it did: {type(error).__name__}: {error}"
                )
                return
            got = [f"  this code fails with {type(error).__name__}: {error}"]
        else:
            made = digest(ready)
            self.tally.chain.add(made)
            self.tally.messages += 1
            self.tally.count(ready)
            if made == entry.digest:
                self._check_plan(entry)
                self._asked = ready.solve or self._asked
                return
            got = [f"  this code decides {made.hex()}:", *(f"    {line}" for line in ready_lines(ready))]
        raise Disagreement(
            "\n".join(
                [
                    f"The first difference is in {path.name}, entry {number}, at {instant(entry.now_ms).isoformat()}.",
                    f"  message {message_line(entry.message)}",
                    f"  the log has {'a failed step' if entry.digest == FAILED else f'decision {entry.digest.hex()}'}",
                    *got,
                ]
            )
        )

    def _check_plan(self, entry: Entry) -> None:
        """Solve again what the recorded plan answers, if that is the newest request: others are given up on."""
        if self._solve is None or not isinstance(entry.message, PlanReady) or self._asked is None:
            return
        recorded = entry.message.plan
        if recorded.request_id != self._asked.request_id:
            return
        if self._asked.solver in NOT_REPEATABLE:
            return
        self.tally.plans += 1
        try:
            today = self._solve(self._asked)
        except Exception as error:  # a solver of other code may be gone or fail
            self.tally.other_plans.append(f"problem {recorded.request_id}: {type(error).__name__}: {error}")
            return
        if today != recorded:
            self.tally.other_plans.append(
                f"problem {recorded.request_id}: recorded {plan_line(recorded)}, today {plan_line(today)}"
            )

    def _join(self, path: Path, header: Header, region: Region) -> None:
        """A segment that goes on from the one before begins in the state in which that one ended."""
        before, self._before = self._before, None
        if before is None or header.epoch != before[1].epoch:
            self._asked = None
            return
        number, number_before = number_of(path), number_of(before[0])
        if number is None or number_before is None or number != number_before + 1:
            self.tally.notes.append(f"What was recorded between {before[0].name} and {path.name} is missing.")
            self._asked = None
        elif (where := difference(before[2], region)) is not None:
            raise Disagreement(
                f"{before[0].name} ends in another state than {path.name} begins with: {where} differs."
            )

    def _note_code(self, header: Header) -> None:
        mine = Header(region_id="", epoch=0, life=False, now_ms=0)
        for what, theirs, ours in (
            ("other code in domain/", header.code, mine.code),
            ("another Python", header.python, mine.python),
            ("another numpy", header.numpy, mine.numpy),
        ):
            note = (
                f"Recorded with {what} ({theirs}) than this ({ours}): decisions may differ for that reason."
            )
            if theirs != ours and note not in self.tally.notes:
                self.tally.notes.append(note)


def replay_command(log: Path, solve: bool, say: Say) -> int:
    """Replay a log; progress to `say`, the result to standard output. Returns the exit code."""
    replay = Replay(_solver() if solve else None, say)
    verdict, status = "every decision agrees", AGREES
    try:
        replay.run(segments_of(log))
    except Disagreement as error:
        verdict, status = str(error), DIFFERS
    except LogError as error:
        verdict, status = str(error), UNUSABLE
    except OSError as error:
        verdict, status = f"{log} cannot be read: {error.strerror}.", UNUSABLE
    except KeyboardInterrupt:
        return 130
    tally = replay.tally
    for note in tally.notes:
        say(note)
    if tally.segments:
        print("\n".join(report(tally, solve)))
    if status == AGREES and tally.other_plans:
        verdict = (
            f"every decision agrees, but {len(tally.other_plans)} of {tally.plans} plans do not. The first:"
        )
        verdict, status = f"{verdict}\n  {tally.other_plans[0]}", DIFFERS
    if status == UNUSABLE:
        say(verdict)
    else:
        print(verdict)
    return status


def _solver() -> Callable[[SolveRequest], Plan]:
    from solver.registry import solve  # loads the flow solver, which nothing else here needs

    return solve


def report(tally: Tally, solve: bool) -> list[str]:
    """The figures, one a line."""
    span_s = tally.span_ms / 1000
    hours, minutes, seconds = int(span_s // 3600), int(span_s // 60 % 60), span_s % 60
    speed = span_s / tally.wall_s if tally.wall_s else 0.0
    lines = [
        f"segments     {tally.segments:,}",
        f"lives        {len(tally.epochs):,}",
        f"messages     {tally.messages:,}",
        f"offers made  {tally.offers:,}",
        f"assignments  {tally.assignments:,}",
        f"server time  {hours}:{minutes:02d}:{seconds:06.3f}",
        f"speed        {speed:,.1f} x server time ({tally.messages / max(tally.wall_s, 1e-9):,.0f} messages a second)",
        f"decisions    {tally.chain.value()}",
    ]
    if solve:
        lines.insert(-1, f"plans        {tally.plans:,} solved again, {len(tally.other_plans):,} differ")
    return lines
