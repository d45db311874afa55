"""What a figure was measured on and with: no names or paths of the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version


def describe_machine() -> dict[str, str | int | float]:
    """Return processor, cores, load and the versions that matter."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        cores = os.cpu_count() or 1
    found: dict[str, str | int | float] = {
        "processor": _processor(),
        "cores": cores,
        "python": platform.python_version(),
    }
    if hasattr(os, "getloadavg"):  # above the number of cores, others were at work
        found["load"] = round(os.getloadavg()[0], 1)
    for package in ("napari-cas", "torch", "scikit-image", "scikit-learn", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """Return the processor's model name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = [
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
