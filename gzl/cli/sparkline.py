"""What a stage used over time as rows of small bars, for `gzl show`."""

from collections.abc import Iterator, Sequence

from gzl.kit.text import human_size
from gzl.model.record import Usage

WIDTH = 40  # columns of bars at most: the rest of a line says what they add up to
_LEAST = 3  # bars: two are no course of anything
_BARS = "▁▂▃▄▅▆▇█"
_ASCII = "_.:-=+*#"


def usage_rows(usage: Usage, *, unicode: bool) -> Iterator[tuple[str, str]]:
    """A title and a row for each thing of which the stage used any; nothing for a stage that was over soon."""
    if len(usage.memory_series) < _LEAST:
        return
    most = max(usage.cpu_series)
    series: list[tuple[str, Sequence[float], str]] = [
        ("cpu", usage.cpu_series, f"{usage.cpu:.1f}s" + (f", at most {most:.1f} processors" if most >= 0.05 else "")),
        ("memory", usage.memory_series, f"peak {human_size(usage.memory)}"),
        ("read", usage.read_series, human_size(usage.read)),
        ("written", usage.written_series, human_size(usage.written)),
    ]
    for title, values, words in series:
        if any(values):
            yield title, f"{sparkline(values, unicode=unicode)}  {words}"


def sparkline(values: Sequence[float], *, unicode: bool, width: int = WIDTH) -> str:
    """The values as bars from 0 to the largest of them; where they are more than `width`, a bar is the largest of a
    few."""
    count = min(len(values), width)
    shown = [max(values[n * len(values) // count : (n + 1) * len(values) // count]) for n in range(count)]
    top = max(shown, default=0.0) or 1.0
    bars = _BARS if unicode else _ASCII
    return "".join(bars[min(len(bars) - 1, int(max(0.0, value) / top * len(bars)))] for value in shown)
