"""Every option that a stage may have: one table for the parser, `gzl check`, the documentation and the runners."""

from collections.abc import Iterable
from dataclasses import dataclass

from gzl.gzlfile import values
from gzl.gzlfile.values import Kind
from gzl.model.pipeline import Pipeline, Stage

_FLAG = Kind("yes or no; the name alone means yes", values.flag)
_DURATION = Kind("a duration: 90s, 10m, 1h30m", values.seconds)
_COUNT = Kind("a whole number", values.count)
_GLOBS = Kind("patterns with white space between", values.globs)


@dataclass(frozen=True, slots=True)
class Option:
    """One option: the kind of its value, a line about it, and whether this version carries it out."""

    name: str
    kind: Kind
    about: str
    available: bool = False
    only: tuple[str, ...] = ()
    """Values that are carried out already, where others are not."""

    @property
    def flag(self) -> bool:
        """Whether the name may stand alone, for `yes`."""
        return self.kind is _FLAG


MATRIX = "matrix."
OPTIONS = {
    option.name: option
    for option in (
        Option(
            "shell",
            Kind("a POSIX shell by name or path: " + " ".join(sorted(values.SHELLS)), values.shell),
            "The shell that runs the steps; `sh` if not given.",
            available=True,
        ),
        Option(
            "once",
            _FLAG,
            "Start the stage once only: no other attempt after an infrastructure failure.",
            available=True,
        ),
        Option(
            "matrix.NAME",
            Kind("words with white space between", str.split),
            "One stage for each combination of the words of all `matrix.` options.",
            available=True,
        ),
        Option(
            "runner",
            Kind("`local`, or a provider such as docker or ssh:build1", values.runner),
            "Where the stage runs.",
            only=("local",),
        ),
        Option("image", Kind("a container image", values.image), "The image that the stage runs in."),
        Option(
            "services",
            Kind('images, `"postgres:16 as db, redis:7"`', values.services),
            "Containers that run beside the stage.",
        ),
        Option("timeout", _DURATION, "Stop the stage after this time.", available=True),
        Option("idle", _DURATION, "Stop the stage when it has printed nothing for this time.", available=True),
        Option(
            "paths",
            _GLOBS,
            "Run only if such a file changed since the stage last passed on this branch.",
            available=True,
        ),
        Option("inputs", _GLOBS, "Reuse an earlier pass if no such file differs from then.", available=True),
        Option(
            "shards",
            Kind("a whole number from 1, or auto", values.count_or_auto),
            "Spread the stage's tests over this many workers.",
            only=("1",),
        ),
        Option("target", _DURATION, "With `shards=auto`: how long the tests should take."),
        Option("tests", Kind("a framework or a command", values.sentence), "How the stage's tests are found."),
        Option(
            "retry-flaky",
            _COUNT,
            "Run a test that is known to be flaky up to this many times more.",
            only=("0",),
        ),
        Option(
            "secrets",
            Kind("names with white space between", values.secrets),
            "Secrets that the stage gets.",
            available=True,
        ),
        Option(
            "cache",
            Kind('`"PATH… key=GLOB…"`', values.cache),
            "Paths to restore before and to save after a pass.",
            available=True,
        ),
        Option("isolate", _FLAG, "Run in a sandbox that cannot write to the repository.", only=("no",)),
        Option("network", Kind("a word, such as none", values.word), "The network that the stage may use."),
        Option("cpu", Kind("processors: 2, 0.5, 500m", values.millicpus), "Processors to reserve."),
        Option("memory", Kind("a size: 512M, 2G", values.size), "Memory to reserve."),
        Option("labels", Kind("words or key=value", values.labels), "Labels that the machine must have."),
    )
}


def find(name: str) -> Option | None:
    """The option of that name; every `matrix.` name is one option."""
    return OPTIONS.get("matrix.NAME" if name.startswith(MATRIX) else name)


def carried_out(name: str, value: str) -> bool:
    """Whether this version does what the option says, with this value."""
    option = find(name)
    return option is not None and (option.available or value in option.only)


def unavailable(pipeline: Pipeline, stage_names: Iterable[str]) -> list[str]:
    """A sentence for each thing that these stages (or families) use and that this version does not carry out."""
    found = []
    if pipeline.pin is not None:
        found.append(f"`gzl: {pipeline.pin}`: this version of gzl cannot run another; remove the line")
    names = [member for name in stage_names for member in pipeline.families.get(name, (name,))]
    for name in names:
        if stage := pipeline.stages.get(name):
            found += _unavailable(stage)
    return list(dict.fromkeys(found))


def _unavailable(stage: Stage) -> list[str]:
    where = f"line {stage.line}: stage {stage.family or stage.name}"
    return [
        f"{where}: `{name}={value}` is not available in this version of gzl; remove it"
        for name, value in stage.options.items()
        if not carried_out(name, value)
    ]
