"""A real OpenSSH server on loopback, with keys, configuration and a client's configuration of its own."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from programs import PATH

CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"""
CLIENT = """
Host *
  IdentityFile {folder}/{key}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""


@dataclass
class Server:
    """`client`: put it first on the path, and 'ssh' reads this folder's configuration instead of the user's."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def device(self) -> str:
        return f"ssh:{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def client(self) -> Path:
        return self.folder / "bin"

    def use_key(self, name: str) -> None:
        (self.folder / "config").write_text(CLIENT.format(folder=self.folder, key=name))

    def stop(self) -> None:
        """The machine is gone: its connections break, and nobody listens any more."""
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), 9)
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def serving(folder: Path, sshd: str | None = None, options: str = "") -> Iterator[Server]:
    """Listens until the block ends; only the key named 'user' is let in.

    `sshd`: another program than the system's. `options`: more lines of its configuration.
    """
    sshd, ssh = sshd or shutil.which("sshd", path=PATH), shutil.which("ssh")
    assert sshd
    assert ssh
    for key in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host[0]} {host[1]}\n")
    (folder / "sshd_config").write_text(CONFIGURATION.format(folder=folder, port=port) + options)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # a root sshd does not start without it
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
        server = Server(folder, port, process)
        server.use_key("user")
        server.client.mkdir()
        wrapper = server.client / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {ssh} -F {folder}/config "$@"\n')
        wrapper.chmod(0o755)
        try:
            wait(server)
            yield server
        finally:
            if process.poll() is None:
                server.stop()


def wait(server: Server) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
            return
        assert server.process.poll() is None, (server.folder / "log").read_text()
        time.sleep(0.05)
    raise AssertionError("sshd does not listen")
