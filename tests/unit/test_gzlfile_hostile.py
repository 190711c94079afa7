"""A small run of bench/fuzz_gzlfile.py: no input gives anything but a pipeline or mistakes."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings


def _load() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "fuzz_gzlfile.py"
    spec = importlib.util.spec_from_file_location("fuzz_gzlfile", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load()


@settings(max_examples=300, deadline=None)
@given(fuzz.INPUTS)
def test_any_bytes_are_survived(data: bytes) -> None:
    fuzz.survives(data)


def test_the_fuzzer_starts_from_files_without_mistakes() -> None:
    assert fuzz.survives(fuzz.SAMPLE.encode()) == "pipeline"
    parts = [(option, body, 1, "?") for option in fuzz.OPTIONS for body in fuzz.BODIES]
    assert fuzz.survives(fuzz._whole(parts)) == "pipeline"


@pytest.mark.parametrize("shape", fuzz.SHAPES.values(), ids=fuzz.SHAPES)
def test_absurd_sizes_need_no_recursion(shape: "fuzz.Callable[[int], str]") -> None:
    fuzz.survives(shape(2000).encode())
