"""What software runs here: the system, and the versions of packages, none of which is imported."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform


def system() -> str:
    """The operating system, as "Debian GNU/Linux 12 (bookworm), Linux 6.1.0"."""
    kernel = f"{platform.system()} {platform.release()}"
    with contextlib.suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    return kernel


def version(name: str) -> str:
    """The version of a package, or of its build for CPUs; empty where it is not installed."""
    for distribution in (name, f"{name}-cpu", f"intel-{name}"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(distribution)
    return ""
