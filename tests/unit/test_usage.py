"""What stages use: the sums, the series, the bars; and that real processes are seen."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gzl.cli.sparkline import sparkline, usage_rows
from gzl.model.record import Usage
from gzl.runners import processes
from gzl.runners.usage import POINTS, Sample, Sampler, measure, read_samples, series, told


def test_a_series_has_equal_intervals_and_keeps_the_sums() -> None:
    samples = [Sample(1, 0.5, 100, 10, 0), Sample(2.5, 2.0, 300, 10, 40), Sample(3, 2.0, 50, 10, 40)]
    found = series([*samples, Sample(4, 3.0, 0, 12, 40)])
    assert (found.cpu, found.memory, found.read, found.written, found.interval) == (3.0, 300, 12, 40, 1.0)
    assert found.cpu_series == pytest.approx((0.5, 1.0, 0.5, 1.0))
    assert found.memory_series == (100, 100, 300, 50)
    assert (found.read_series, found.written_series) == ((10, 0, 0, 2), (0, 27, 13, 0))


def test_what_was_over_at_once_has_totals_only() -> None:
    assert series([Sample(0.4, 0.1, 0, 5, 6)], peak=7) == Usage(0.1, 7, 5, 6)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.01, 500), st.floats(0, 50), st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.integers(0, 9)
        ),
        min_size=1,
        max_size=400,
    )
)
def test_any_series(steps: list[tuple[float, float, int, int, int]]) -> None:
    samples, at, cpu, read, written = [], 0.0, 0.0, 0, 0
    for after, used, memory, more_read, more_written in steps:
        at, cpu, read, written = at + after, cpu + used, read + more_read, written + more_written
        samples.append(Sample(at, cpu, memory, read, written))
    found = series(samples)
    assert len(found.cpu_series) == len(found.memory_series) == len(found.read_series) <= POINTS
    if at >= 1:
        assert found.interval * len(found.cpu_series) == pytest.approx(at)
        assert sum(found.cpu_series) * found.interval == pytest.approx(cpu, abs=1e-6)
        assert abs(sum(found.read_series) - read) <= len(found.read_series)
        assert max(found.memory_series) == max((s.memory for s in samples[:-1]), default=0)
        assert min(found.cpu_series) >= -1e-9


def test_samples_rise_are_kept_and_go_on_under_a_later_agent(tmp_path: Path) -> None:
    begun = processes.uptime() - 5
    sampler = Sampler()
    sampler.begin(tmp_path, begun)
    assert sampler.next_due() == begun + 1
    sampler.note(tmp_path, begun + 1, [], cpu=3.0)
    sampler.note(tmp_path, begun + 2, [])
    first, second = read_samples(tmp_path)
    assert (first.at, first.cpu, second.at, second.cpu, second.memory) == (1, 3, 2, 3, 0), "what was used was used"
    with (tmp_path / "usage").open("a") as file:
        file.write("3.00 9.00 1")  # the first agent was killed here
    later = Sampler()
    later.resume(tmp_path, begun)
    assert later.due(begun + 5) == [tmp_path]
    later.note(tmp_path, begun + 4, [], cpu=5.0)
    found = later.end(tmp_path, begun + 5, None, cpu=6.5)
    assert found is not None
    assert (found.cpu, found.interval, len(found.cpu_series)) == (6.5, 1.0, 5)


def test_long_attempts_are_looked_at_less_often(tmp_path: Path) -> None:
    now, looks = 0.0, 0
    sampler = Sampler()
    sampler.begin(tmp_path, now)
    while now < 24 * 3600:
        now = sampler.next_due() or 0.0
        sampler.note(tmp_path, now, [])
        looks += 1
    assert looks < 4000
    assert (tmp_path / "usage").stat().st_size < 200_000


@pytest.mark.parametrize("put", ["fifo", "link", "folder", "garbage"])
def test_a_stage_can_spoil_only_its_own_series(tmp_path: Path, put: str) -> None:
    path = tmp_path / "usage"
    {"fifo": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("/etc/passwd"), "folder": path.mkdir,
     "garbage": lambda: path.write_bytes(b"\xff\n1.00 2.00 x 4 5\n")}[put]()  # fmt: skip
    sampler = Sampler()
    sampler.begin(tmp_path, 0.0)
    sampler.note(tmp_path, 1.0, [], cpu=2.0)
    found = sampler.end(tmp_path, 2.0, None)
    assert found is not None
    assert found.cpu == 2.0


def test_a_process_is_measured_with_those_that_it_waited_for() -> None:
    burn = "import os, time\nif not os.fork():\n  while time.process_time() < 0.2: pass\n  os._exit(0)\nos.wait()\n"
    grow = "x = bytearray(80_000_000)\nprint(flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", burn + grow], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sample = measure([process.pid, 1 << 30], 1.0)
        process.kill()
    assert sample.cpu >= 0.2
    assert sample.memory >= 80_000_000


def test_wait_tells_no_peak_that_is_our_own() -> None:
    own = bytearray(50_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    small = os.posix_spawn("/bin/true", ["true"], {})
    assert told(os.wait4(small, 0)[2]).memory == 0
    big = os.posix_spawn(sys.executable, ["python", "-c", f"bytearray({before + 30_000_000})"], {})
    assert told(os.wait4(big, 0)[2]).memory > before + 20_000_000
    del own


def test_a_machine_of_many_processes_is_looked_at_quickly() -> None:
    begun = time.process_time()
    count = sum(len(processes.everyone()) for _ in range(5))
    assert (time.process_time() - begun) / count < 0.001, "seconds of a process"


def test_bars() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 8], unicode=True) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0], unicode=True) == "▁▁"
    assert sparkline([0, 8], unicode=False) == "_#"
    assert sparkline([*range(200)], unicode=True, width=8) == "▁▂▃▄▅▆▇█"
    assert sparkline([], unicode=True) == ""


def test_rows_say_what_the_bars_add_up_to() -> None:
    used = Usage(3.21, 5 << 20, 0, 2048, 1.0, (0.0, 1.4, 1.71), (1 << 20, 5 << 20, 2 << 20), (0, 0, 0), (0, 0, 2048))
    assert list(usage_rows(used, unicode=True)) == [
        ("cpu", "▁▇█  3.2s, at most 1.7 processors"), ("memory", "▂█▄  peak 5.0 MiB"), ("written", "▁▁█  2.0 KiB"),
    ]  # fmt: skip
    assert not list(usage_rows(Usage(0.1, 5), unicode=True))
