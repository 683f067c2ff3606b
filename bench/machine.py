"""What this machine is, and which two of its CPUs are used."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _governor(cpu: int) -> str | None:
    try:
        path = f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"
        return Path(path).read_text().strip()
    except OSError:
        return None


def describe() -> dict[str, object]:
    """Facts about the machine that a reader of results needs."""
    if sys.platform != "linux":  # where nothing is measured, but results may be looked at
        return {"system": platform.platform(), "processor": platform.processor()}
    import resource

    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _model(),
        "cpus": os.cpu_count(),
        "virtual": "hypervisor" in Path("/proc/cpuinfo").read_text(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "governor": _governor(0),
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }


def _siblings(cpu: int) -> set[int]:
    """The CPUs that share a core with this one, itself included."""
    try:
        path = f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        text = Path(path).read_text().strip()
    except OSError:
        return {cpu}
    found: set[int] = set()
    for part in text.split(","):
        start, _, end = part.partition("-")
        found.update(range(int(start), int(end or start) + 1))
    return found


def choose_cpus() -> tuple[int, int]:
    """The CPU for the server and the one for the load: the last two that share no core.

    With only one CPU both are that one, and rates say little.
    """
    allowed = sorted(os.sched_getaffinity(0), reverse=True)
    server = allowed[0]
    others = [cpu for cpu in allowed if cpu not in _siblings(server)] or allowed[1:] or allowed
    return server, others[0]


def raise_descriptors() -> int:
    """Let children open as many files as the system allows; returns that number."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def cpu_seconds(process: int) -> float:
    """CPU time so far of another process, of all its threads."""
    # The kernel's name for that process's clock.
    return time.clock_gettime((~process << 3) | 2)
