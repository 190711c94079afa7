"""What a job would run, as one number: equal numbers mean that an earlier verdict answers for it."""

import hashlib
import json
from collections.abc import Mapping

from gzl.model.pipeline import Stage


def definition(stages: Mapping[str, Stage], env: Mapping[str, str]) -> str:
    """SHA-256 (hex) of what would run: stages, dependencies, steps, options, environment; not where a line stands."""
    said = {
        "env": dict(env),
        "stages": {
            name: [
                [str(dependency) for dependency in stage.dependencies],
                [step.text for step in stage.steps],
                stage.interpreter,
                dict(sorted(stage.options.items())),
                dict(stage.matrix),
            ]
            for name, stage in sorted(stages.items())
        },
    }
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()
