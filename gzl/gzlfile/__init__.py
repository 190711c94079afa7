"""The Gzlfile language: bytes in, a `model.pipeline.Pipeline` and every mistake out. Pure."""

from gzl.gzlfile.globs import matches
from gzl.gzlfile.mistakes import GzlfileError, Mistake, Severity, render
from gzl.gzlfile.options import OPTIONS, unavailable
from gzl.gzlfile.parser import Parsed, load, parse

__all__ = [
    "OPTIONS",
    "GzlfileError",
    "Mistake",
    "Parsed",
    "Severity",
    "load",
    "matches",
    "parse",
    "render",
    "unavailable",
]
