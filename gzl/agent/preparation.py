"""What an attempt is given: its environment, and before that whatever its stage has asked for."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gzl.agent.conditions import Conditions
from gzl.agent.environment import inputs, job_env, stage_env
from gzl.agent.state import JobState
from gzl.agent.vault import Vault
from gzl.model.pipeline import Stage
from gzl.model.request import JobRequest

if TYPE_CHECKING:
    from gzl.agent.caches import Caches

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class Contact(Protocol):
    """How an attempt reaches the Job API: `jobapi.listener.Listener`."""

    def environ(self, stage: str, attempt: int, *, shared: bool) -> dict[str, str]: ...


class Preparation:
    """Prepares the attempts of one job."""

    def __init__(
        self,
        request: JobRequest,
        environ: Mapping[str, str],
        *,
        conditions: Conditions,
        contact: Contact,
        vault: Vault,
        caches: Callable[[], "Caches"],
        commands: Path,
    ) -> None:
        """`commands` is the folder with the `gzl` of stages; `caches` is called if a stage has one."""
        self._common = job_env(environ, request.env, request.record)
        self._common["PATH"] = f"{commands}:{self._common.get('PATH', DEFAULT_PATH)}"
        self._conditions = conditions
        self._contact = contact
        self._vault = vault
        self._caches = caches

    def expect(self, stages: Iterable[Stage]) -> None:
        """These stages are going to be prepared."""
        self._vault.load(stages)

    def env(self, stage: Stage, number: int, directory: Path, workspace: Path, state: JobState) -> dict[str, str]:
        """The environment of an attempt. Raises Unfit."""
        last = self._conditions.last(stage.name)
        env = stage_env(self._common, stage, attempt=directory, workspace=workspace, last=last)
        env |= self._contact.environ(stage.name, number, shared=True)
        if state.outputs:
            env |= inputs(stage.name, state.plan, state.record)
        return {**env, **self._vault.given(stage)}

    def restore(self, stage: Stage, workspace: Path) -> str:
        """Put the stage's cache into its workspace; what came of it, in a sentence. May take long."""
        return self._caches().restore(stage, workspace) or ""

    def save(self, stage: Stage, workspace: Path) -> str:
        """Save the stage's cache from its workspace; what came of it, in a sentence. May take long."""
        return self._caches().save(stage, workspace) or ""
