"""What a user's installation gets: the wheel, the manifest and the import rules."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "module",
    ["napari_cas", "napari_cas.session", "napari_cas.jobs.executor", "napari_cas.ui.widget"],
)
def test_importing_what_runs_in_napari_leaves_torch_out(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr or f"{module} imports torch"


def test_headless_modules_leave_napari_and_qt_out() -> None:
    code = (
        "import sys, napari_cas.session, napari_cas.cli;"
        "sys.exit(any(name in sys.modules for name in ('napari', 'qtpy', 'PyQt6')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_public_names_resolve() -> None:
    import napari_cas

    for name in napari_cas.__all__:
        assert getattr(napari_cas, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = napari_cas.nonsense


def test_manifest_is_valid_and_its_commands_import() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-cas")
    manifest.validate_imports()
    assert manifest.contributions.widgets
    assert manifest.contributions.sample_data
    assert manifest.contributions.writers


@pytest.mark.slow
def test_the_wheel_carries_sample_data_and_manifest_but_no_training_code(
    repository: Path, tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, repository],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "napari_cas/napari.yaml" in names
    assert "napari_cas/_sample_data/index.json" in names
    assert "napari_cas/py.typed" in names
    assert not [name for name in names if name.startswith(("training/", "tests/"))]
