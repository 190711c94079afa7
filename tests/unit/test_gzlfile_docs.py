"""docs/gzlfile.md says what is so: its examples are Gzlfiles without mistakes, its table has every option."""

import re
from pathlib import Path

import pytest

from gzl.gzlfile import OPTIONS, parse, render
from gzl.gzlfile.options import Option

TEXT = (Path(__file__).parents[2] / "docs" / "gzlfile.md").read_text()
EXAMPLES = re.findall(r"^```make\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_has_no_mistake(example: str) -> None:
    parsed = parse(example.encode(), "example")
    assert [render(m) for m in parsed.mistakes if "not available" not in m.text] == []
    assert parsed.pipeline.stages


def row(option: Option) -> str:
    """The option's line of the table."""
    available = "yes" if option.available else ", ".join(f"only `{value}`" for value in option.only) or "not yet"
    return f"| `{option.name}` | {option.kind.about} | {option.about} | {available} |"


def test_the_table_has_every_option() -> None:
    table = [line for line in TEXT.splitlines() if re.match(r"\| `[a-z-]+(\.NAME)?` \|.*\|.*\|.*\|", line)]
    assert table == [row(option) for option in OPTIONS.values()]
