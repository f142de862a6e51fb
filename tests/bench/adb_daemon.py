"""An Android device as adb sees one: its protocol on loopback, a folder as its storage, this machine's shell.

Speaks what adbd speaks over TCP (CNXN, AUTH, OPEN, OKAY, WRTE, CLSE; services `shell:`, `shell,v2:`, `exec:`, `sync:`)
and really runs what it is told to, with three differences to a phone: in commands and in what they are told,
/data/local/tmp and /sys are in the device's folder, `getprop` and `dumpsys` are scripts that answer from what the
device was made with, and aarch64 programs are run by qemu. Nothing of safedeploy is imported.
"""

import contextlib
import os
import queue
import re
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

VERSION = 0x01000001  # from here on nobody checks checksums
MAX_DATA = 256 * 1024
FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"
HEADER = struct.Struct("<4sIIIII")
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
AARCH64 = 183
STORAGE = "/data/local/tmp"

PIXEL = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 6a",
    "ro.soc.model": "GS101",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a,armeabi",
}
CPUINFO = "".join(
    f"processor\t: {core}\nBogoMIPS\t: 49.15\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics\n"
    f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {part}\nCPU revision\t: 0\n\n"
    for core, part in enumerate(["0xd05", "0xd44"])
)


@dataclass
class Phone:
    """What the device is and what is wrong with it.

    `frequencies`: kHz by core. `thermal`: °C by zone type, as files in /sys; `battery`: °C. `room`: bytes it can store.
    `asleep`: it is connected and says nothing any more.
    """

    folder: Path
    properties: dict[str, str] = field(default_factory=lambda: dict(PIXEL))
    frequencies: Mapping[int, int] = field(default_factory=lambda: {0: 1803000, 1: 2802000})
    thermal: Mapping[str, float] = field(default_factory=dict)
    battery: float = 28.5
    awake: bool = True
    room: int | None = None
    authorised: bool = True
    asleep: bool = False
    features: str = FEATURES
    qemu: str | None = field(default_factory=lambda: shutil.which("qemu-aarch64-static"))

    @property
    def storage(self) -> Path:
        return self.folder / STORAGE[1:]

    def make(self) -> None:
        """Write the device's files; call again after a change."""
        self.storage.mkdir(parents=True, exist_ok=True)
        cores = self.folder / "sys/devices/system/cpu"
        for core, frequency in self.frequencies.items():
            self.write(cores / f"cpu{core}/cpufreq/cpuinfo_max_freq", f"{frequency}\n")
        last = max(self.frequencies)
        for name in ("present", "possible", "online"):
            self.write(cores / name, f"0-{last}\n" if last else "0\n")
        for number, (name, degrees) in enumerate(self.thermal.items()):
            zone = self.folder / f"sys/class/thermal/thermal_zone{number}"
            self.write(zone / "type", f"{name}\n")
            self.write(zone / "temp", f"{degrees * 1000:.0f}\n")
        self.write(self.folder / "proc/cpuinfo", CPUINFO)
        answers = "".join(f"{name}) echo {shlex.quote(value)};;\n" for name, value in self.properties.items())
        self.program("getprop", f'case "$1" in\n{answers}*) echo;;\nesac\n')
        wakefulness = "Awake" if self.awake else "Asleep"
        self.program(
            "dumpsys",
            'case "$1" in\n'
            f'power) printf "POWER MANAGER (dumpsys power)\\n\\nPower State:\\n  mWakefulness={wakefulness}\\n";;\n'
            f'battery) printf "Battery state:\\n  level: 80\\n  temperature: {self.battery * 10:.0f}\\n";;\n'
            "esac\n",
        )

    def write(self, path: Path, content: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def program(self, name: str, body: str) -> None:
        path = self.folder / "system/bin" / name
        self.write(path, "#!/bin/sh\n" + body)
        path.chmod(0o755)

    def here(self, path: str) -> Path:
        """Where a path of the device lies on this machine."""
        return self.folder / path.lstrip("/")

    def command(self, line: str) -> str:
        """A command of the device as this machine's shell takes it: the first program that is for aarch64, in qemu."""
        line = line.replace(STORAGE, str(self.storage)).replace("/sys/", f"{self.folder}/sys/")
        named = re.findall(re.escape(str(self.storage)) + r"/[\w./-]+", line)
        program = next((word for word in named if machine_of(Path(word)) == AARCH64), None)
        return line.replace(program, f"{self.qemu} -L {self.folder} {program}", 1) if program and self.qemu else line

    def used(self) -> int:
        return sum(path.lstat().st_size for path in self.storage.rglob("*") if not path.is_dir())


def machine_of(path: Path) -> int | None:
    """The machine an executable ELF file is for; None for anything else."""
    if not (path.is_file() and os.access(path, os.X_OK)):
        return None
    with path.open("rb") as handle:
        head = handle.read(20)
    return int.from_bytes(head[18:20], "little") if head[:4] == b"\x7fELF" else None


class Stream:
    """One service of one connection: bytes in through a queue, bytes out one packet at a time."""

    def __init__(self, link: "Link", local: int, remote: int) -> None:
        self.link, self.local, self.remote = link, local, remote
        self.incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.credit = threading.Semaphore(1)
        self.closed = threading.Event()
        self.rest = b""
        self.on_close: Callable[[], None] = lambda: None

    def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises EOFError where the other end closed before."""
        while len(self.rest) < size:
            data = self.incoming.get()
            if not data:
                raise EOFError
            self.rest += data
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.link.max_data):
            self.credit.acquire()
            if self.closed.is_set():
                raise EOFError
            self.link.send(b"WRTE", self.local, self.remote, data[start : start + self.link.max_data])

    def close(self, *, tell: bool = True) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        self.incoming.put(b"")
        self.credit.release()
        self.on_close()
        if tell:
            self.link.send(b"CLSE", self.local, self.remote)


class Link:
    """One connection of an adb server."""

    def __init__(self, phone: Phone, connection: socket.socket) -> None:
        self.phone, self.connection = phone, connection
        self.max_data = MAX_DATA
        self.sending = threading.Lock()
        self.streams: dict[int, Stream] = {}
        self.opened = 0

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        if self.phone.asleep:
            return
        magic = int.from_bytes(command, "little") ^ 0xFFFFFFFF
        head = HEADER.pack(command, arg0, arg1, len(data), sum(data) & 0xFFFFFFFF, magic)
        with self.sending, contextlib.suppress(OSError):
            self.connection.sendall(head + data)

    def receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = self.connection.recv(min(size - len(data), 1 << 20))
            if not more:
                raise EOFError
            data += more
        return bytes(data)

    def serve(self) -> None:
        try:
            while True:
                command, arg0, arg1, size, _, _ = HEADER.unpack(self.receive(HEADER.size))
                self.handle(command, arg0, arg1, self.receive(size))
        except (EOFError, OSError):
            pass
        finally:
            self.drop()

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        for stream in list(self.streams.values()):
            stream.close(tell=False)

    def handle(self, command: bytes, arg0: int, arg1: int, data: bytes) -> None:
        if command == b"CNXN":
            self.max_data = min(arg1, MAX_DATA)
            if self.phone.authorised:
                named = f"ro.product.name=bluejay;ro.product.model={self.phone.properties['ro.product.model']}"
                self.send(b"CNXN", VERSION, MAX_DATA, f"device::{named};features={self.phone.features}".encode())
            else:
                self.send(b"AUTH", 1, 0, bytes(20))
        elif command == b"AUTH" and arg0 == 2:  # a signature by a key that nobody allowed
            self.send(b"AUTH", 1, 0, bytes(20))
        elif command == b"OPEN":
            self.opened += 1
            stream = self.streams[self.opened] = Stream(self, self.opened, arg0)
            self.send(b"OKAY", stream.local, arg0)
            service = data.rstrip(b"\0").decode()
            threading.Thread(target=self.run, args=(stream, service), daemon=True).start()
        elif stream_of := self.streams.get(arg1):
            if command == b"WRTE":
                stream_of.incoming.put(data)
                self.send(b"OKAY", stream_of.local, arg0)
            elif command == b"OKAY":
                stream_of.credit.release()
            elif command == b"CLSE":
                del self.streams[arg1]
                stream_of.close(tell=False)

    def run(self, stream: Stream, service: str) -> None:
        name, _, argument = service.partition(":")
        with contextlib.suppress(EOFError, OSError):
            if name == "sync":
                sync(self.phone, stream)
            elif name == "exec" or name.split(",")[0] == "shell":
                shell(self.phone, stream, argument, packets="v2" in name.split(","))
        stream.close()


def shell(phone: Phone, stream: Stream, line: str, *, packets: bool) -> None:
    """Run one command, its three streams and exit code in packets of the shell protocol, or raw."""
    path = f"{phone.folder}/system/bin:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["/bin/sh", "-c", phone.command(line)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if packets else subprocess.STDOUT,
        cwd=phone.folder,
        env={"PATH": path, "HOME": "/"},
        start_new_session=True,
    )

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    stream.on_close = end
    writing = threading.Lock()

    def forward(pipe: int, kind: int) -> None:
        with contextlib.suppress(EOFError):
            while data := os.read(pipe, 1 << 16):
                with writing:
                    stream.write(struct.pack("<BI", kind, len(data)) + data if packets else data)

    def feed() -> None:
        assert process.stdin is not None
        with contextlib.suppress(EOFError, OSError):
            while True:
                kind, size = struct.unpack("<BI", stream.read(5)) if packets else (STDIN, 1)
                data = stream.read(size)
                if kind == STDIN:
                    process.stdin.write(data.replace(STORAGE.encode(), str(phone.storage).encode()))
                    process.stdin.flush()
                elif kind == CLOSE_STDIN:
                    break
        with contextlib.suppress(OSError):
            process.stdin.close()

    assert process.stdout is not None
    pumps = [threading.Thread(target=forward, args=(process.stdout.fileno(), STDOUT), daemon=True)]
    if process.stderr is not None:
        pumps.append(threading.Thread(target=forward, args=(process.stderr.fileno(), STDERR), daemon=True))
    threading.Thread(target=feed, daemon=True).start()
    for pump in pumps:
        pump.start()
    for pump in pumps:
        pump.join()
    code = process.wait()
    if packets:  # as a shell says it: 128 and the signal's number
        stream.write(struct.pack("<BIB", EXIT, 1, code if code >= 0 else 128 - code))


def sync(phone: Phone, stream: Stream) -> None:
    """Files in and out."""
    while True:
        command, size = struct.unpack("<4sI", stream.read(8))
        if command == b"QUIT":
            return
        path = stream.read(size).decode()
        if command == b"SEND":
            name, _, mode = path.rpartition(",")
            take(phone, stream, phone.here(name), int(mode))
        elif command == b"RECV":
            give(stream, phone.here(path))
        elif command == b"STAT":
            stream.write(struct.pack("<4sIII", command, *short_stat(phone.here(path))))
        elif command in (b"STA2", b"LST2"):
            stream.write(command + long_stat(phone.here(path), follow=command == b"STA2"))
        elif command in (b"LIST", b"LIS2"):
            long = command == b"LIS2"
            folder = phone.here(path)
            for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
                name_bytes = entry.name.encode()
                fields = long_stat(entry, follow=False) if long else struct.pack("<III", *short_stat(entry))
                kind = b"DNT2" if long else b"DENT"
                stream.write(kind + fields + struct.pack("<I", len(name_bytes)) + name_bytes)
            stream.write(b"DONE" + bytes(72 if long else 16))
        else:
            fail(stream, f"unknown command {command!r}")
            return


def take(phone: Phone, stream: Stream, path: Path, mode: int) -> None:
    """One pushed file; what comes after a fault is read and thrown away, as adbd does."""
    fault: OSError | None = None
    content = bytearray()
    left = None if phone.room is None else phone.room - phone.used()
    while True:
        command, size = struct.unpack("<4sI", stream.read(8))
        if command == b"DONE":
            break
        content += stream.read(size)
        if left is not None and len(content) > left and fault is None:
            fault = OSError(28, os.strerror(28))
            content.clear()
            fail(stream, f"write failed: {fault.strerror}")
    if fault is not None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if stat.S_ISLNK(mode):
            path.symlink_to(content.rstrip(b"\0").decode())
        else:
            path.write_bytes(content)
            path.chmod(mode & 0o777)
    except OSError as error:
        fail(stream, f"couldn't create file: {error.strerror}")
    else:
        stream.write(struct.pack("<4sI", b"OKAY", 0))


def give(stream: Stream, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        fail(stream, f"open failed: {error.strerror}")
        return
    for start in range(0, len(content), 64 * 1024):
        part = content[start : start + 64 * 1024]
        stream.write(struct.pack("<4sI", b"DATA", len(part)) + part)
    stream.write(struct.pack("<4sI", b"DONE", 0))


def fail(stream: Stream, message: str) -> None:
    stream.write(struct.pack("<4sI", b"FAIL", len(message.encode())) + message.encode())


def short_stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.lstat()
    except OSError:
        return 0, 0, 0
    return found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime)


def long_stat(path: Path, *, follow: bool) -> bytes:
    layout = struct.Struct("<IQQIIIIQqqq")
    try:
        found = path.stat(follow_symlinks=follow)
    except OSError as error:
        return layout.pack(error.errno or 5, *[0] * 10)
    times = int(found.st_atime), int(found.st_mtime), int(found.st_ctime)
    owner = found.st_nlink, found.st_uid, found.st_gid
    return layout.pack(0, found.st_dev, found.st_ino, found.st_mode, *owner, found.st_size, *times)


class Daemon:
    """A phone that listens on a port of this machine's loopback until it is stopped, or vanishes."""

    def __init__(self, phone: Phone) -> None:
        phone.make()
        self.phone = phone
        self.links: list[Link] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = Link(self.phone, connection)
                self.links.append(link)
                threading.Thread(target=link.serve, daemon=True).start()

    def vanish(self) -> None:
        """The cable is pulled: nothing is said, every program ends, nobody answers any more."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for link in self.links:
            link.drop()


@contextlib.contextmanager
def listening(phone: Phone) -> Iterator[Daemon]:
    daemon = Daemon(phone)
    try:
        yield daemon
    finally:
        daemon.vanish()


class Server:
    """An adb server of its own: its port, keys and devices are nobody else's."""

    def __init__(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.environment = {
            "ANDROID_ADB_SERVER_PORT": str(port),
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5554",  # do not look for emulators
            "HOME": str(home),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),  # the tree stays found
            "ANDROID_SDK_HOME": str(home),
        }

    def adb(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, **self.environment}
        command = ["adb", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def main() -> None:
    """Be a device until Ctrl-C: for trying things where there is no phone."""
    properties = dict.fromkeys(PIXEL, "unknown") | {
        "ro.product.manufacturer": "no phone",
        "ro.product.model": "test daemon on loopback, aarch64 by QEMU",
        "ro.product.cpu.abilist": "arm64-v8a",
    }
    with tempfile.TemporaryDirectory() as folder, listening(Phone(Path(folder), properties)) as daemon:
        print(f"safedeploy bench FILE --device adb:{daemon.serial}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
