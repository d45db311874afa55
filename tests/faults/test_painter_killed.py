"""kill -9 of the painting process: reopened, every finished stroke is there."""

import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import numpy as np
import psutil
import pytest

from napari_cas.session import NewImage, Session
from napari_cas.store import Project

PAINTER = """
    import itertools
    import sys

    import numpy as np

    from napari_cas.session import Session

    session = Session()
    session.open_project(sys.argv[1])
    start = int(np.asarray(session.image.regions[...]).max())
    for stroke in itertools.count(start + 1):
        y, x = stroke * 7 // 500 % 480, stroke * 7 % 500
        session.image.regions[y : y + 5, x : x + 9] = stroke
        session.image.regions[500 + y % 10, :] = stroke
        session.stroke_finished()
        print(stroke, flush=True)
"""


def place(stroke):
    """Return row and column of a stroke's first pixel; the same formula as in the script."""
    return stroke * 7 // 500 % 480, stroke * 7 % 500


@contextmanager
def started(script, project):
    """Run a script on a project; its process and pipe are gone afterwards, come what may."""
    process = subprocess.Popen(
        [sys.executable, str(script), str(project)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    "sessions", [3, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_every_finished_stroke_survives(tmp_path, sessions):
    moment = random.Random(sessions)
    path = tmp_path / "p.zarr"
    session = Session()
    picture = np.random.default_rng(0).integers(0, 255, (512, 512), dtype=np.uint8)
    session.create_project(path, [NewImage("a", picture, "yx")])
    session.close()
    (tmp_path / "paint.py").write_text(textwrap.dedent(PAINTER))
    finished = 0
    for _ in range(sessions):
        with started(tmp_path / "paint.py", path) as painter:
            finished = int(painter.stdout.readline())
            time.sleep(moment.uniform(0, 0.3))
            painter.kill()
            lines = painter.stdout.read().split("\n")
        # The last line may be cut; the one before it is a stroke that was reported as finished.
        finished = max([finished, *(int(line) for line in lines[:-1])])
        with Project.open(path) as project:
            assert project.problems == ()
            regions = np.asarray(project.image("a").regions[...])
        painted = int(regions.max())
        assert painted >= finished
        for stroke in range(max(1, finished - 30), finished + 1):
            y, x = place(stroke)
            assert regions[y, x] >= stroke, stroke  # later strokes may lie over it
        assert (regions[500 + place(finished)[0] % 10] >= finished).any()


def test_kill_9_of_a_training_process_leaves_a_project_to_go_on_with(tmp_path):
    script = """
        import sys

        import numpy as np

        from napari_cas.config import Config, FitConfig
        from napari_cas.session import NewImage, Session

        session = Session(config=Config(fit=FitConfig(round_seconds=0.2, max_rounds=10_000)))
        image = np.random.default_rng(0).normal(80, 12, (128, 128))
        image[:, 64:] += 80
        picture = NewImage("halves", image.clip(0, 255).astype(np.uint8), "yx")
        session.create_project(sys.argv[1], [picture])
        session.image.regions[10:30, 10:40] = 1
        session.image.regions[10:30, 90:120] = 2
        session.stroke_finished()
        rounds = 0

        def paint_and_train_on(report):
            # A quiet machine converges in one round: each round asks for training after it.
            global rounds
            rounds += 1
            session.image.regions[40 + rounds % 80, 10:20] = 1
            session.stroke_finished()
            session.fine_tune()
            print(report.checkpoint, flush=True)

        session.reported.connect(paint_and_train_on)
        session.fine_tune()
        session.run_until_idle()
    """
    (tmp_path / "train.py").write_text(textwrap.dedent(script))
    with started(tmp_path / "train.py", tmp_path / "p.zarr") as trainer:
        assert trainer.stdout.readline()
        assert trainer.stdout.readline()
        family = psutil.Process(trainer.pid).children(recursive=True)
        time.sleep(0.1)
        assert trainer.poll() is None
        trainer.kill()
        assert trainer.wait() == -signal.SIGKILL
    assert len(family) >= 1
    assert psutil.wait_procs(family, timeout=20)[1] == []  # nobody is left alive
    session = Session()
    messages = []
    session.messaged.connect(messages.append)
    session.open_project(tmp_path / "p.zarr")
    assert messages == []
    assert session.checkpoint in session.project.models
    session.project.load_model(session.checkpoint)
    assert (np.asarray(session.image.prediction[...]) > 0).all()
    assert int(session.image.regions[15, 15]) == 1
    session.close()
