"""The server's clock goes on evenly whatever is done to the machine's."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from actors import clock as clocks
from actors.clock import ServerClock

HOUR_MS = 3_600_000


class Machine:
    """A machine's clocks, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady = 1_700_000_000_000, 50_000
        monkeypatch.setattr(clocks, "wall_ms", lambda: self.wall)
        monkeypatch.setattr(clocks, "steady_ms", lambda: self.steady)
        self._set = monkeypatch.setattr
        self.process_starts()

    def process_starts(self, boot_id: str = "this") -> None:
        """From here on the clock is read in another process."""
        self._set(clocks, "boot_id", lambda: boot_id)
        self._set(clocks, "_PROCESS_BOOT_ID", boot_id)
        self._set(clocks, "_PROCESS_WALL_MS", self.wall - self.steady)
        self._set(clocks, "steady_us", lambda: self.steady * 1000)

    def passes(self, ms: int) -> None:
        self.wall, self.steady = self.wall + ms, self.steady + ms


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, 300, -300])
@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_a_step_of_the_wall_clock_changes_nothing(machine: Machine, step_ms: int, speed: float) -> None:
    clock = ServerClock.begin(speed, after_ms=None)
    began_ms = clock.now_ms()
    machine.passes(1_000)
    machine.wall += step_ms
    machine.passes(1_000)
    assert clock.now_ms() - began_ms == 2_000 * speed
    assert clock.wall_moved_s() == step_ms / 1000


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS])
@pytest.mark.parametrize("boot_id", ["this", "that"])
def test_numbers_by_the_time_rise_over_a_step(machine: Machine, step_ms: int, boot_id: str) -> None:
    """A socket's number must be greater than that of the one before, or it is taken for the older one."""
    clock = ServerClock.begin(10.0, after_ms=machine.wall + HOUR_MS)
    machine.process_starts(boot_id)
    before_us = clock.even_us()
    assert before_us == machine.wall * 1000
    machine.passes(1)
    machine.wall += step_ms
    assert clock.even_us() == before_us + 1000


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS])
def test_a_process_that_starts_after_the_step_agrees(machine: Machine, step_ms: int) -> None:
    clock = ServerClock.begin(1.0, after_ms=None)
    machine.passes(1_000)
    machine.wall += step_ms
    before_ms = clock.now_ms()
    machine.process_starts()
    again = msgspec.json.decode(msgspec.json.encode(clock), type=ServerClock)
    assert again.now_ms() == before_ms


def test_another_machine_goes_by_its_wall_clock_at_the_start_of_the_process(machine: Machine) -> None:
    clock = ServerClock.begin(1.0, after_ms=None)
    began_ms = clock.now_ms()
    machine.passes(5_000)
    machine.steady = 7  # it was started a moment ago
    machine.process_starts("that")
    assert clock.now_ms() - began_ms == 5_000
    machine.wall -= HOUR_MS
    machine.passes(1_000)
    assert clock.now_ms() - began_ms == 6_000, "from then on it goes on evenly, too"


def test_a_clock_begins_after_the_newest_event(machine: Machine) -> None:
    assert ServerClock.begin(1.0, after_ms=None).now_ms() == machine.wall
    assert ServerClock.begin(1.0, after_ms=machine.wall - 1).now_ms() == machine.wall
    newest_ms = machine.wall + HOUR_MS  # the wall clock was set back between two starts
    assert ServerClock.begin(1.0, after_ms=newest_ms).now_ms() == newest_ms + 1


def test_where_no_boot_has_a_name_the_wall_clock_of_the_start_counts(machine: Machine) -> None:
    machine.process_starts("")
    clock = ServerClock.begin(1.0, after_ms=None)
    machine.wall += HOUR_MS
    machine.passes(1_000)
    assert clock.now_ms() == clock.anchor_ms + 1_000


def test_two_processes_of_this_machine_agree() -> None:
    clock = ServerClock.begin(1.0, after_ms=None)
    program = (
        "import msgspec, sys; from actors.clock import ServerClock;"
        " print(msgspec.json.decode(sys.argv[1], type=ServerClock).now_ms())"
    )
    before_ms = clock.now_ms()
    text = msgspec.json.encode(clock).decode()
    there_ms = int(subprocess.run([sys.executable, "-c", program, text], capture_output=True).stdout)
    assert before_ms <= there_ms <= clock.now_ms()


def test_without_anchors_it_is_wall_time() -> None:
    assert abs(ServerClock().now_ms() - clocks.wall_ms()) < 1_000
