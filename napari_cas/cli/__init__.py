"""The command line: the session's use-cases without a window."""

from __future__ import annotations

from napari_cas.cli.entry import main

__all__ = ["main"]
