"""Pushes over SSH, to a real sshd on loopback, with gzl's hooks and without."""

import getpass
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from common import Machine, Row, Table, compare, in_turns, settle, wait_until

BASE, GZL = "push over SSH, no hooks", "push over SSH, gzl's hooks and an idle manager"
BUDGET = 1.05


def tables(machine: Machine) -> Iterator[Table]:
    """One table: a push with hooks over one without."""
    rounds = machine.rounds(40)
    program = shutil.which("sshd", path=f"{machine.env['PATH']}:/usr/sbin:/sbin")
    if program is None or shutil.which("ssh") is None:
        yield Table("push over SSH", [Row(GZL, "not measured: this machine has no sshd", "", f"≤ {BUDGET}×", False)])
        return
    (machine.folder / "ssh").mkdir()
    port = _sshd(machine, program, machine.folder / "ssh")
    plain = machine.server("ssh/plain.git", gzl=False)
    hooked = machine.server("ssh/gzl.git", gzl=True)
    machine.manager(hooked)
    contestants = {BASE: _pushes(machine, plain, port), GZL: _pushes(machine, hooked, port)}
    timings = in_turns(contestants, rounds)
    yield Table(f"push of one commit over SSH, {rounds} rounds", list(compare(timings, BASE, {GZL: BUDGET})))


def _pushes(machine: Machine, server: Path, port: int) -> Callable[[], float]:
    command = f"ssh -F {machine.folder}/ssh/ssh_config"
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{server}"
    work = machine.clone(url, f"ssh/{server.stem} work", GIT_SSH_COMMAND=command)

    def push() -> float:
        machine.git(work, "commit", "--quiet", "--allow-empty", "--message", "change")
        seconds = machine.time("git", "push", "--quiet", "origin", "HEAD:main", cwd=work, GIT_SSH_COMMAND=command)
        settle(server / "gzl")
        return seconds

    return push


def _sshd(machine: Machine, program: str, folder: Path) -> int:
    """Start the server, its keys and configuration in `folder`; the port that it listens at."""
    for key in ("host", "user"):
        machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "StrictModes": "no",
        "PidFile": "none",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
        # The other side, too, must not see this machine's git configuration.
        "SetEnv": f"PATH={machine.env['PATH']} HOME={machine.env['HOME']} GIT_CONFIG_NOSYSTEM=1",
    }
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    (folder / "ssh_config").write_text(
        f"Host *\n IdentityFile {folder}/user\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known\n"
        " StrictHostKeyChecking accept-new\n LogLevel ERROR\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    machine.start(program, "-D", "-e", "-f", folder / "sshd_config", log=folder / "log")
    wait_until(lambda: _listens(port), "sshd listens")
    return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True
