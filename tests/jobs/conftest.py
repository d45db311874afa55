from pathlib import Path

import pytest

from napari_cas.jobs import LocalExecutor

HERE = str(Path(__file__).parent)


@pytest.fixture
def findable(monkeypatch):
    """Let workers import `work_functions` by name: they get the parent's path."""
    monkeypatch.syspath_prepend(HERE)


@pytest.fixture
def executor(findable):
    with LocalExecutor() as executor:
        yield executor
