"""Hostile Gzlfiles: `python bench/fuzz_gzlfile.py [N=100000]` reads at least N of them and measures absurd sizes.

Hypothesis makes the inputs: random bytes, scraps of the grammar, Gzlfiles that are mostly right, and mutations of
these. None may give anything but a pipeline or mistakes with a place (see `survives`). Then inputs of one shape and two
sizes are read: four times the size may not take much more than four times as long.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gzl.gzlfile import GzlfileError, load, parse, render, unavailable
from gzl.gzlfile.mistakes import printable

MOST_GROWTH = 8.0  # times as long, for four times the size; quadratic would be 16

SAMPLE = """\
gzl: stable  # a pin
on push main release/*: build test
on tag v[0-9]*: deploy
on cron "0 3 * * mon-fri": test
on broken main: bisect
env:
    CC = gcc
    FLAGS = "-O2 -Wall"  # fast
build:
    $CC $FLAGS a.c -o a
test [matrix.os="a b", matrix.py="3.11 3.12", shards=auto,
      timeout=1h30m, paths="src/** *.py"]: build
    if ./a; then
        echo "ok $(date)" >&2
    fi
    cat <<EOF | while read x
    do not do
    EOF
    do case $x in (a|b) f "${x:-'}" ;; *) echo $((1 + (2))) ;; esac; done
deploy [once, secrets="key", runner=ssh:host]: test@a,3.11 test? lib//x lib@main//y build|report
    #!/usr/bin/env python3
    print("hello")
report: build! \\
    test?
größe:
"""
WORDS = r"""
gzl: on push tag commit merge cron pull-request manual broken bisect env: a: b: a b c [ ] , = : | ! ? // @ # \ a! a? a|b
" ' ` $ $( ${ $(( )) ( ) { } ; ;; & && || < > << <<- <<E E if then elif else fi for in do done case esac 'q' "w"
once once=no shards=4 timeout=1s matrix.x= '*' #! #!/bin/sh * ** [a-z] ü """
SPACES = [
    "\n",
    "\n",
    "\n    ",
    "\n    ",
    "\n\t",
    "\n ",
    " ",
    "  ",
    "\r\n",
    "\\\n",
    "\0",
    "\ufeff",
    "\u2028",
    "\xa0",
    "\n#",
    " #",
]
SCRAPS = [*WORDS.split(), *SPACES, '"* * * * *"', "\u202e", "\x1b[31m"]
OPTIONS = ["", " [once]", ' [matrix.x="1 2", shell=bash]', " [\n  timeout=1m  # why\n  idle=1s]", " [runner=docker]"]
BODIES = [
    "",
    "    true\n",
    "\tif a\n\n\tthen b; fi\n\tc\n",
    "  cat <<E\n   x\n  E\n",
    "    #!/bin/cat\n  '\n",
    "    a \\\n  b\n",
]

_scraps = st.lists(st.sampled_from(SCRAPS), max_size=40).map(lambda parts: "".join(parts).encode())
_lines = st.lists(st.sampled_from(SAMPLE.splitlines(keepends=True)), max_size=30).map(lambda ls: "".join(ls).encode())
_bytes = st.binary(max_size=200)
_edit = st.tuples(
    st.integers(0, 1200), st.integers(0, 30), st.one_of(st.binary(max_size=4), st.sampled_from(SCRAPS).map(str.encode))
)


_seeds = st.one_of(st.just(SAMPLE.encode()), _lines, _scraps, st.deferred(lambda: _wholes))


def _mutate(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, piece in edits:
        at = at % (len(seed) + 1)
        seed = seed[:at] + piece + seed[at + length :]
    return seed


def _whole(parts: list[tuple[str, str, int, str]]) -> bytes:
    """A file without mistakes: each stage may depend on the one that many stages before it."""
    text = "on push: s0\n" if parts else ""
    for index, (options, body, back, kind) in enumerate(parts):
        before = f"s{index - back}{kind}" if 0 < back <= index else ""
        text += f"s{index}{options}: {before}\n{body if '#!' not in body or 'shell' not in options else ''}"
    return text.encode()


_stage = st.tuples(
    st.sampled_from(OPTIONS), st.sampled_from(BODIES), st.integers(0, 3), st.sampled_from(["", "!", "?"])
)
_wholes = st.lists(_stage, max_size=8).map(_whole)
INPUTS = st.one_of(
    _bytes, _scraps, _lines, _wholes, st.builds(_mutate, _seeds, st.lists(_edit, min_size=1, max_size=5))
)


def survives(data: bytes) -> str:
    """Read `data`, check what must hold of any input, and say what it was: `pipeline` or `mistakes`."""
    parsed = parse(data, "Gzlfile")
    lines = data.count(b"\n") + 1
    for mistake in parsed.mistakes:
        assert 1 <= mistake.line <= lines
        assert 1 <= mistake.column <= len(mistake.source) + 1
        assert mistake.text
        assert mistake.hint
        assert all(line == printable(line) for line in render(mistake).split("\n"))
    try:
        pipeline = load(data, "Gzlfile")
    except GzlfileError as error:
        assert error.mistakes == parsed.errors
        return "mistakes"
    assert not parsed.errors
    stages = {*pipeline.stages, *pipeline.families}
    for stage in pipeline.stages.values():
        assert stage.name in pipeline.families[stage.family]
        assert all(ref.repo or ref.stage in stages for d in stage.dependencies for ref in d.alternatives)
        assert all(step.text.strip() and 1 <= step.line <= lines for step in stage.steps)
    assert all(set(rule.stages) <= stages for rule in pipeline.rules)
    unavailable(pipeline, pipeline.families)
    return "pipeline"


SHAPES: dict[str, Callable[[int], str]] = {
    "one word": lambda n: "a" * n,
    "brackets": lambda n: "a " + "[" * n,
    "quotes": lambda n: "a: " + "'\"" * n,
    "lone quotes in env": lambda n: 'env:\n A = "' + "'x" * n,
    "backslashes": lambda n: "a: \\\n" * n,
    "options": lambda n: "a [" + "once," * n + "]:",
    "unknown options": lambda n: "a [" + ",".join(f"x{i}" for i in range(n)) + "]:",
    "matrix keys": lambda n: "a [" + ",".join(f"matrix.x{i}=1" for i in range(n)) + "]:",
    "matrix values": lambda n: 'a [matrix.x="' + " ".join(map(str, range(n))) + '"]:',
    "alternatives": lambda n: "a: " + "b|" * n,
    "unknown dependencies": lambda n: "a: " + " ".join(f"b{i}" for i in range(n)),
    "unknown stages, many known": lambda n: "".join(f"a{i}: b{i}\n" for i in range(n)),
    "a chain": lambda n: "".join(f"a{i}: a{i + 1}\n" for i in range(n)) + f"a{n}:\n",
    "one long cycle": lambda n: "".join(f"a{i}: a{(i + 1) % n}\n" for i in range(n)),
    "many cycles": lambda n: (
        "a: " + " ".join(f"b{i}" for i in range(n)) + "\n" + "".join(f"b{i}: a\n" for i in range(n))
    ),
    "one name": lambda n: "a:\n" * n,
    "patterns": lambda n: "on push " + "[a-z]*" * n + ": a\na:\n",
    "open brackets in a pattern": lambda n: "on push " + "\\[" * n + ": a\na:\n",
    "cron": lambda n: 'on cron "' + "1," * n + '1 * * * *": a\na:\n',
    "steps": lambda n: "a:\n" + "  true\n" * n,
    "substitutions": lambda n: "a:\n  " + "$(" * n,
    "closed substitutions": lambda n: "a:\n  " + "$(" * n + ")" * n,
    "arithmetic": lambda n: "a:\n  " + "$((" * n + "))" * n,
    "parameters in quotes": lambda n: "a:\n  " + '"${x:-' * n,
    "subshells": lambda n: "a:\n  " + "( " * n,
    "ifs": lambda n: "a:\n" + "  if\n" * n,
    "cases": lambda n: "a:\n" + "  case x in a)\n" * n,
    "backquotes": lambda n: "a:\n  " + "`" * (2 * n + 1),
    "one word in pieces": lambda n: "a:\n  " + "a'b'" * n,
    "here-documents": lambda n: "a:\n  cat " + "<<E " * n + "\n" + "  E\n" * n,
    "a here-document without end": lambda n: "a:\n  cat <<E\n" + "  x\\\n" * n,
    "closed by nobody": lambda n: "a:\n" + "  x\n" * n + "  fi\n",
    "deep indentation": lambda n: "a:\n" + "".join(" " * (1 + i % 50) + "x\n" for i in range(n)),
    "NULs": lambda n: "\0\n" * n,
    "controls": lambda n: "\x1b\n" * n,
}


def growth(shape: Callable[[int], str], size: int) -> tuple[float, float]:
    """Seconds for `size` repetitions, and how many times as long four times as many take."""
    small = min(_seconds(shape(size).encode()) for _ in range(3))
    large = min(_seconds(shape(4 * size).encode()) for _ in range(2))
    return small, large / small


def _seconds(data: bytes) -> float:
    started = time.process_time()
    survives(data)
    return time.process_time() - started


def read(wanted: int) -> Counter[str]:
    """Read at least so many inputs, all of which must be survived; how many were a pipeline, how many had mistakes."""
    seen: Counter[str] = Counter()

    @settings(max_examples=wanted, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(INPUTS)
    def every(data: bytes) -> None:
        seen[survives(data)] += 1

    while seen.total() < wanted:
        every()
    return seen


def main(argv: list[str]) -> int:
    """Run it all; the exit status tells whether every input was survived in time that grows with its size."""
    started = time.monotonic()
    seen = read(int(argv[0]) if argv else 100_000)
    seconds = time.monotonic() - started
    print(f"{seen.total()} inputs in {seconds:.1f} s ({seen['pipeline']} pipelines, {seen['mistakes']} with mistakes)")
    slow = []
    for name, shape in SHAPES.items():
        small, times = growth(shape, 4000)
        print(f"  {name:30} {small * 1000:8.1f} ms   4 × the size: {times:5.1f} × as long")
        if times > MOST_GROWTH:
            slow.append(name)
    print(f"not linear: {', '.join(slow)}" if slow else "all linear")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
