"""The secrets of one job: which stage gets which, and what must not be seen in anything that the job leaves behind.

A stage is refused what it may not have, and does not start. The values of all stages are masked in the logs of all of
them: a file that one stage made is printed by another. They lie in the job's folder as long as it is there, for those
who look at a log that is being written.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gzl.errors import GzlError
from gzl.kit.fs import read_or_none, write_atomic
from gzl.kit.mask import Masker
from gzl.model.layout import JobLayout, Layout
from gzl.model.pipeline import Stage
from gzl.model.record import JobRecord

if TYPE_CHECKING:
    from gzl.records.secrets import Given


class Unfit(GzlError):
    """The stage cannot begin, now or later, and its message says why."""


class Vault:
    """Looked into by the agent's loop; other threads read `masker`."""

    def __init__(self, layout: Layout, job: JobLayout, record: JobRecord) -> None:
        self._layout = layout
        self._job = job
        self._record = record
        self._given: dict[str, Given] = {}
        # A later agent also masks what an earlier one gave out, though it was removed or set anew since.
        self._values = {value for value in (read_or_none(job.secrets) or b"").split(b"\0") if value}
        self.masker = Masker(self._values)

    def load(self, stages: Iterable[Stage]) -> None:
        """Take what these stages name; before any of them begins."""
        naming = [stage for stage in stages if "secrets" in stage.options]
        if naming:
            self._load(naming)

    def _load(self, stages: list[Stage]) -> None:
        from gzl.gzlfile import values  # with these the Gzlfile's language: only a job with secrets pays for it
        from gzl.records import secrets

        for stage in stages:
            self._given[stage.name] = secrets.allowed(
                self._layout,
                values.secrets(stage.options["secrets"]),
                ref=self._record.ref,
                event=self._record.event,
            )
        found = {value for given in self._given.values() for value in given.values.values()}
        if not found <= self._values:
            self._values |= found
            write_atomic(self._job.secrets, b"".join(value + b"\0" for value in sorted(self._values)), mode=0o600)
            self.masker = Masker(self._values)

    def given(self, stage: Stage) -> Mapping[str, str]:
        """The stage's secrets, by their variables. Raises Unfit where it must not have one."""
        given = self._given.get(stage.name)
        if given is None:
            return {}
        if given.refusal is not None:
            raise Unfit(given.refusal)
        return {name: value.decode(errors="surrogateescape") for name, value in given.values.items()}
