"""gzl runs its own Gzlfile, and the demonstration does what it says."""

import re
import shutil
import subprocess
from pathlib import Path

from world import World

PROJECT = Path(__file__).parents[2]


def test_its_own_pipeline_passes_through_gzl(world: World) -> None:
    place = world.place("project")
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(place.path)], env=world.env, check=True)
    place.gzl("init")
    ran = place.gzl("run", ok=False)
    assert ran.returncode == 0, ran.stdout[-5000:]
    states = {name: stage["state"] for name, stage in place.show()["stages"].items()}
    assert states == dict.fromkeys(["tools", "style", "types", "layers", "unit"], "passed")


def test_the_demonstration(world: World, tmp_path: Path) -> None:
    done = subprocess.run(
        [PROJECT / "share/demo/demo.sh"],
        env={**world.env, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "remote: ✓ passed" in done.stderr
    assert re.search(r"^[0-9a-z]{26}  failed  .*  push main  6 stages  local$", done.stdout, re.MULTILINE)
    assert re.search(r"^[0-9a-z]{26}/test +failed .* exit 1$", done.stdout, re.MULTILINE)
    place = re.search(r"Look around: (.+?)(\x1b|$)", done.stdout)
    assert place is not None
    shutil.rmtree(place[1])
