"""What an Arm kernel says of its processor: cpuinfo, which runtimes choose their kernels by, reads it and not QEMU.

A runtime under emulation would read the host's /proc/cpuinfo, find no Arm core in it and crash (pytorch/cpuinfo).
Part numbers and features: Arm's technical reference manuals of the cores; Linux, Documentation/arm64/elf_hwcaps.rst.
"""

from dataclasses import dataclass
from pathlib import Path

from safedeploy.rundir import write_text

ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
ARMV82 = ARMV8 + " atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Cpu:
    """`part`: of Arm (implementer 0x41). `features`: as Linux names them."""

    part: str
    features: str
    architecture: str


CPUS = {
    "cortex-a53": Cpu("0xd03", ARMV8, "armv8-a, no dot product: phones and boards up to about 2017"),
    "cortex-a72": Cpu("0xd08", ARMV8, "armv8-a, no dot product: Raspberry Pi 4"),
    "cortex-a76": Cpu("0xd0b", ARMV82, "armv8.2-a with dot product and fp16: most phones since 2019, Raspberry Pi 5"),
}
DEFAULT = "cortex-a76"
CORES = 2


def write(cpu: str, root: Path) -> None:
    """/proc/cpuinfo and /sys/devices/system/cpu of a machine with CORES cores `cpu`, below `root`."""
    described = CPUS[cpu]
    lines = {
        "BogoMIPS": "50.00",
        "Features": described.features,
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": "0x0",
        "CPU part": described.part,
        "CPU revision": "1",
    }
    text = "".join(f"{key}\t: {value}\n" for key, value in lines.items())
    write_text(root / "proc/cpuinfo", "".join(f"processor\t: {core}\n{text}\n" for core in range(CORES)))
    system = root / "sys/devices/system/cpu"
    for name in ("present", "possible", "online"):
        write_text(system / name, f"0-{CORES - 1}\n")
    part = int(described.part, 16)
    for core in range(CORES):
        # MIDR_EL1: implementer, variant, architecture (by features), part, revision
        midr = 0x41 << 24 | 0xF << 16 | part << 4 | 1
        write_text(system / f"cpu{core}" / "regs/identification/midr_el1", f"{midr:#018x}\n")
        topology = system / f"cpu{core}" / "topology"
        values = {
            "physical_package_id": "0",
            "core_id": str(core),
            "core_siblings_list": f"0-{CORES - 1}",
            "thread_siblings_list": str(core),
        }
        for name, value in values.items():
            write_text(topology / name, f"{value}\n")
