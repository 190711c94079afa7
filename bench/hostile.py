"""Hostile Gzlfiles: `bench/fuzz_gzlfile.py` as a section of the table. A traceback ends the benchmark."""

import time
from collections.abc import Iterator

import fuzz_gzlfile as fuzz
from common import Machine, Row, Table, duration

INPUTS = 100_000


def tables(machine: Machine) -> Iterator[Table]:
    """One table: how many inputs were survived, and how the time to read absurd ones grows with their size."""
    wanted = 1000 if machine.quick else INPUTS
    begun = time.monotonic()
    seen = fuzz.read(wanted)
    each = (time.monotonic() - begun) / seen.total()
    growth = {name: fuzz.growth(shape, 4000) for name, shape in fuzz.SHAPES.items()}
    worst = max(growth, key=lambda name: growth[name][1])
    small, times = growth[worst]
    most = fuzz.MOST_GROWTH
    read = f"{seen.total():,} inputs: {seen['pipeline']:,} pipelines, {seen['mistakes']:,} with mistakes"
    yield Table(
        "hostile Gzlfiles",
        [
            Row(f"{read}, no traceback", f"{duration(each)} each", "", f"{INPUTS:,}", seen.total() >= INPUTS or None),
            Row(f"4 × the size, {len(growth)} shapes, worst: {worst}", duration(small), f"{times:.1f}×", f"≤ {most}×",
                times <= most),
        ],
    )  # fmt: skip
