"""Where the `gzl` of stages is: a folder to be put first on a stage's PATH."""

from pathlib import Path

import gzl


def folder() -> Path:
    """The folder with the script: in an installed gzl it is inside the package, in a checkout beside it."""
    package = Path(gzl.__file__).parent
    inside = package / "share" / "stage"
    return inside if inside.is_dir() else package.parent / "share" / "stage"
