"""The Gzlfile language: what each construct means, and that every mistake is found where it is."""

import pytest

from gzl.gzlfile import GzlfileError, Parsed, Severity, load, parse, render, unavailable
from gzl.model.event import EventKind
from gzl.model.pipeline import Pipeline, StageRef, When


def read(text: str) -> Pipeline:
    return load(text.encode(), "Gzlfile")


def wrong(text: str) -> list[tuple[int, int, str]]:
    return [(m.line, m.column, m.text) for m in parse(text.encode(), "Gzlfile").errors]


EXAMPLE = """gzl: stable                              # optional pin

on push main release/*: build test deploy
on push: build test
on cron "0 3 * * *": deploy

env:
    CC = gcc

build:
    $CC myprogram.c -o myprogram
    gzl obj-store myprogram

test [shards=4, timeout=10m, runner=docker, image=python:3.12]: build
    gzl shard pytest

migrate [paths="*/migrations/*"]:        # only if such files changed
    ./manage.py migrate $GZL_LAST_PASS

deploy [once, secrets=deploy-key]: test migrate lib//package     # lib//package: of another repository
    ./deploy

smoke: deploy                            # then
    curl -f "$GZL_IN_DEPLOY_URL"
rollback: deploy!                        # catch
    ./rollback
report: test? deploy? smoke|rollback     # finally
    ./report
"""


def test_the_example_of_the_design() -> None:
    pipeline = read(EXAMPLE)
    assert list(pipeline.stages) == ["build", "test", "migrate", "deploy", "smoke", "rollback", "report"]
    assert pipeline.pin == "stable"
    assert pipeline.env == {"CC": "gcc"}
    assert [(rule.kind, rule.patterns, rule.stages, rule.line) for rule in pipeline.rules] == [
        (EventKind.PUSH, ("main", "release/*"), ("build", "test", "deploy"), 3),
        (EventKind.PUSH, (), ("build", "test"), 4),
        (EventKind.CRON, ("0 3 * * *",), ("deploy",), 5),
    ]
    assert [(step.text, step.line) for step in pipeline.stages["build"].steps] == [
        ("$CC myprogram.c -o myprogram", 11),
        ("gzl obj-store myprogram", 12),
    ]
    deploy = pipeline.stages["deploy"]
    assert deploy.once
    assert deploy.options == {"once": "yes", "secrets": "deploy-key"}
    assert deploy.dependencies[2].alternatives == (StageRef("package", "lib"),)
    report = pipeline.stages["report"]
    assert [str(dependency) for dependency in report.dependencies] == ["test?", "deploy?", "smoke|rollback"]
    assert report.dependencies[0].when is When.FINALLY
    assert not report.handler
    assert pipeline.stages["rollback"].handler


def test_what_cannot_be_done_yet_is_named() -> None:
    pipeline = read(EXAMPLE)
    assert unavailable(pipeline, ["build"]) == [
        "`gzl: stable`: this version of gzl cannot run another; remove the line"
    ]
    said = "\n".join(unavailable(pipeline, ["test", "deploy"]))
    for use in ("`shards=4`", "`runner=docker`", "`image=python:3.12`"):
        assert use in said
    assert "once" not in said
    fine = 'a [shell=bash, once, runner=local, isolate=no, matrix.x="1 2"]:\n\ttrue\n'
    assert unavailable(read(fine), ["a"]) == []
    assert not parse(fine.encode(), "Gzlfile").mistakes


def test_options_over_lines_with_comments_and_brackets_in_quotes() -> None:
    stage = read('t [\n  once   # why\n\n# what\n  tests="a ] # b", timeout = 1h30m\n]:\n  x\n').stages["t"]
    assert stage.options == {"once": "yes", "tests": "a ] # b", "timeout": "1h30m"}
    assert [step.line for step in stage.steps] == [7]


def test_lines_go_on_after_a_backslash() -> None:
    pipeline = read("on push main \\\n   topic/*: \\\n a b\na: b \\\n c\nb:\nc:\nenv:\n A = 1 \\\n   2\n")
    assert pipeline.rules[0].patterns == ("main", "topic/*")
    assert [str(d) for d in pipeline.stages["a"].dependencies] == ["b", "c"]
    assert pipeline.env == {"A": "1 2"}


@pytest.mark.parametrize("indent", ["\t", " ", "    ", "\t  "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_indentation_and_line_ends_are_free(indent: str, end: str, bom: bytes) -> None:
    lines = ["größe: b", "", "{}if true", "{}then", "{}  echo ü", "", "# no step", "{}fi", "{}# nor this", "{}b", "b:"]
    data = bom + end.join(lines).replace("{}", indent).encode()
    stage = load(data, "Gzlfile").stages["größe"]
    assert [(step.text, step.line) for step in stage.steps] == [("if true\nthen\n  echo ü\n\n\nfi", 3), ("b", 10)]


def test_mixed_indentation_names_both_lines() -> None:
    assert wrong("a:\n  b\n\tc\n") == [
        (3, 2, "tabs and spaces are mixed: this line is indented by 1 tab, line 2 by 2 spaces")
    ]


def test_the_least_indented_line_is_the_margin() -> None:
    assert [s.text for s in read("a:\n      b\n    c\n").stages["a"].steps] == ["  b", "c"]


def test_a_script_is_one_step_as_it_is() -> None:
    stage = read("a:\n\n    #!/usr/bin/env python3\n    if 1:\n        print('''\n\n    x''')\n\nb:\n").stages["a"]
    assert stage.interpreter == "/usr/bin/env python3"
    assert stage.steps[0].text == "#!/usr/bin/env python3\nif 1:\n    print('''\n\nx''')"
    assert stage.steps[0].line == 3


def test_a_matrix_makes_a_family() -> None:
    pipeline = read('on push: t\nt [matrix.os="a b", matrix.py="3.11 3.12"]: b\n  x\nb:\nu: t t@a,3.12?\n')
    names = ("t@a,3.11", "t@a,3.12", "t@b,3.11", "t@b,3.12")
    assert pipeline.families == {"t": names, "b": ("b",), "u": ("u",)}
    assert pipeline.stages["t@b,3.11"].matrix == {"os": "b", "py": "3.11"}
    assert pipeline.stages["t@b,3.11"].family == "t"


def test_matrices_have_a_limit() -> None:
    words = " ".join(map(str, range(17)))
    assert wrong(f'a [matrix.x="{words}", matrix.y="{words}"]:\n')[0][2] == (
        "this matrix has more than 256 combinations"
    )
    words = " ".join(map(str, range(250)))
    many = "".join(f'a{n} [matrix.x="{words}"]:\n' for n in range(50))
    assert wrong(many)[0] == (41, 1, "with this matrix there are more than 10000 stages")


def test_cycles_are_shown_as_paths_each_once() -> None:
    text = 'a: b\nb: c? d\nc: a|d\nd [matrix.x="1 2"]: e\ne: d@1\nf: f\ng: a\n'
    assert wrong(text) == [
        (3, 4, "stages that wait for each other: a → b → c → a"),
        (5, 4, "stages that wait for each other: d → e → d"),
        (6, 4, "a stage that waits for itself: f → f"),
    ]


# Line, column, and a part of what is said of each.
MISTAKES = [
    ("on puhs: a\na:\n", 1, 4, "no event 'puhs'"),
    ("on push main\na:\n", 1, 13, "needs `:`"),
    ("on push:\na:\n", 1, 9, "names no stage"),
    ("on push: b\na:\n", 1, 10, "no stage 'b'"),
    ("on push: x//a\na:\n", 1, 10, "its own file"),
    ("on push [x: a\na:\n", 1, 9, "bracket is not closed"),
    ("on push 'x: a\na:\n", 1, 9, "quote is not closed"),
    ("on push a\\: a\na:\n", 1, 9, "the last backslash"),
    ("on push !x: a\na:\n", 1, 9, "negated"),
    ("on cron 1 2: a\na:\n", 1, 9, "schedule in quotes"),
    ('on cron "60 * * * *": a\na:\n', 1, 10, "minute: '60'"),
    ("on manual x: a\na:\n", 1, 11, "takes no patterns"),
    ("on broken main: a\na:\n", 1, 16, "one action"),
    ("on: a\na:\n", 1, 1, "names no event"),
    ("on push: a\n  x\na:\n", 2, 3, "no body"),
    ("  x\na:\n", 1, 3, "belongs to no stage"),
    ("gzl: a b\n", 1, 6, "one word"),
    ("gzl: a\ngzl: b\n", 2, 1, "stands twice"),
    ("env: A=1\n", 1, 6, "stands alone"),
    ("env:\n  A = 1\n  A = 2\n", 3, 3, "set twice"),
    ("env:\n  A-B = 1\n", 2, 3, "no name of a variable"),
    ("env:\n  A := 1\n", 2, 3, "not an assignment"),
    ("env:\n  A = x$(y)\n", 2, 8, "`$(` in a variable"),
    ("env:\n  A = 'x\n", 2, 7, "quote is not closed"),
    ("env:\n  GZL_A = x\n", 2, 3, "gzl's own"),
    ("a\n", 1, 2, "expected `:`"),
    ("A = b\n", 1, 3, "variable outside"),
    ("a b: c\n", 1, 3, "names one stage"),
    (": a\n", 1, 1, "name is missing"),
    (".PHONY: a\na:\n", 1, 1, "cannot have '.' at its beginning"),
    ("a/b:\n", 1, 2, "cannot have '/'"),
    ("on [once]:\n", 1, 1, "reserved word"),
    ("a:\na:\n", 2, 1, "the first is in line 1"),
    ("a: b\n", 1, 4, "no stage 'b'"),
    ("a: b@1\nb:\n", 1, 4, "no stage 'b@1'"),
    ("a: b b!\nb:\n", 1, 6, "named twice"),
    ("a: b|c!\nb:\nc:\n", 1, 6, "inside of `|`"),
    ("a: b||c\nb:\nc:\n", 1, 6, "missing here"),
    ("a: b|\nb:\n", 1, 5, "missing here"),
    ("a: $b\n", 1, 4, "cannot have '$'"),
    ("a: x//\n", 1, 4, "missing here"),
    ("a: ..//b\n", 1, 4, "no name of a repository"),
    ("a: x@y..z//b\n", 1, 4, "no name of a branch"),
    ("a [tiemout=1m]:\n", 1, 4, "no option 'tiemout'"),
    ("a [timeout]:\n", 1, 4, "needs a value"),
    ("a [timeout=soon]:\n", 1, 4, "written like 90s"),
    ("a [timeout=0s]:\n", 1, 4, "at least 1s"),
    ("a [once=maybe]:\n", 1, 4, "yes or no"),
    ("a [once, once]:\n", 1, 10, "given twice"),
    ("a [once idle=1s]:\n", 1, 9, "expected `,` or `]`"),
    ("a [=x]:\n", 1, 4, "cannot begin with '='"),
    ("a [once:\nb:\n", 1, 3, "bracket is not closed"),
    ("a [shards=0]:\n", 1, 4, "from 1"),
    ("a [retry-flaky=many]:\n", 1, 4, "a whole number"),
    ("a [memory=lots]:\n", 1, 4, "written like 512M"),
    ("a [cpu=0]:\n", 1, 4, "more than 0"),
    ("a [paths='[x']:\n", 1, 4, "`[` is not closed"),
    ("a [paths='../x']:\n", 1, 4, "out of the repository"),
    ("a [inputs='']:\n", 1, 4, "it is empty"),
    ("a [secrets='a/b']:\n", 1, 4, "a secret's name"),
    ("a [labels='a=']:\n", 1, 4, "a label is"),
    ("a [runner=x:y:z]:\n", 1, 4, "a runner is"),
    ("a [image=-x]:\n", 1, 4, "an image is"),
    ("a [services='x y']:\n", 1, 4, "services are"),
    ("a [services='x as a, y as a']:\n", 1, 4, "two services"),
    ("a [cache='key=x']:\n", 1, 4, "a cache is"),
    ("a [network='a b']:\n", 1, 4, "one word"),
    ("a [tests=' ']:\n", 1, 4, "it is empty"),
    ("a [shell=fish]:\n", 1, 4, "POSIX shell"),
    ("a [shell=sh]:\n  #!/bin/sh\n", 1, 4, "begins with #!"),
    ("a:\n  #!\n", 2, 3, "names no program"),
    ("a [once, inputs=x]:\n", 1, 10, "never reused"),
    ("a [matrix.=x]:\n", 1, 4, "no name for"),
    ("a [matrix.x=x, matrix.X=x]:\n", 1, 16, "GZL_MATRIX_X"),
    ("a [matrix.x='']:\n", 1, 4, "no values"),
    ("a [matrix.x='1 1']:\n", 1, 4, "given twice"),
    ("a [matrix.x='1/2']:\n", 1, 4, "cannot have '/'"),
    ("a:\n  true\n  echo 'x\n", 3, 8, "quote is not closed"),
    ("a:\n  if true; then\n    true\nb:\n", 2, 3, "`if` is not closed"),
    ("a:\n  cat <<E\n   E\n", 2, 7, "here-document"),
    ("a:\n  true &&\n", 2, 10, "ends after `&&`"),
    ("a:\n  fi\n", 2, 3, "closes nothing"),
]


@pytest.mark.parametrize(("text", "line", "column", "said"), MISTAKES)
def test_a_mistake_and_its_place(text: str, line: int, column: int, said: str) -> None:
    found = wrong(text)
    assert [(at, col) for at, col, _ in found] == [(line, column)], found
    assert said in found[0][2]


@pytest.mark.parametrize(
    ("data", "line", "column", "said"),
    [(b"a:\n  x\xff\n", 2, 4, "0xff"), ("ä\0:\n".encode(), 1, 2, "NUL"), (b"\xfe\xff\0a", 1, 1, "0xfe")],
)
def test_what_is_no_text_is_told_with_its_place(data: bytes, line: int, column: int, said: str) -> None:
    found = [m for m in parse(data, "Gzlfile").errors if said in m.text]
    assert [(m.line, m.column) for m in found] == [(line, column)]


def test_all_mistakes_come_at_once_in_order_and_a_suggestion_with_them() -> None:
    with pytest.raises(GzlfileError) as caught:
        read("on push: biuld\nbuild [tiemout=3m]: nope\n    echo 'x\n")
    assert [(m.line, m.column) for m in caught.value.mistakes] == [(1, 10), (2, 8), (2, 21), (3, 10)]
    assert str(caught.value).splitlines()[:4] == [
        "Gzlfile:1:10: error: no stage 'biuld'",
        "    on push: biuld",
        "             ^",
        "    did you mean 'build'?",
    ]


def test_the_caret_stands_below_the_place_whatever_comes_before() -> None:
    mistake = parse("\tx\n漢字: ü\x1b(31m\n".encode(), "Gzlfile").errors[1]
    assert render(mistake).splitlines()[1:3] == ["    漢字: ü�(31m", "          ^"]
    long = parse(("a: " + "b" * 500 + " c\n").encode(), "x").errors[1]
    shown = render(long).splitlines()
    assert len(shown[1]) < 130
    assert shown[1][shown[2].index("^")] == "c"
    assert "\x1b[31m" in render(mistake, color=True)


def test_warnings_do_not_keep_a_file_from_loading() -> None:
    parsed: Parsed = parse(b"a:\n    echo x >/dev/stderr\n", "Gzlfile")
    assert [(m.severity, m.column) for m in parsed.mistakes] == [(Severity.WARNING, 13)]
    assert load(b"a:\n    echo x >/dev/stderr\n", "Gzlfile").stages["a"].steps


def test_nothing_is_a_pipeline_too() -> None:
    assert read("") == read("# nothing\n\n  # here\n") == Pipeline({})
