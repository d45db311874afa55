"""kill -9 of the painting process: reopened, every finished stroke is there."""

import random
import subprocess
import sys
import textwrap
import time

import numpy as np
import psutil
import pytest

from napari_cas.session import NewImage, Session
from napari_cas.store import Project

PAINTER = """
    import sys
    import time

    import numpy as np

    from napari_cas.session import Session

    session = Session()
    session.open_project(sys.argv[1])
    start = int(np.asarray(session.image.regions[...]).max())
    for stroke in range(start + 1, 2000):
        y, x = divmod(stroke * 7, 500)
        session.image.regions[y : y + 5, x : x + 9] = stroke
        session.image.regions[500 + y % 10, :] = stroke
        session.stroke_finished()
        print(stroke, flush=True)
"""


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
        painter = subprocess.Popen(
            [sys.executable, str(tmp_path / "paint.py"), str(path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        finished = int(painter.stdout.readline())
        time.sleep(moment.uniform(0, 0.3))
        painter.kill()
        lines = painter.stdout.read().split("\n")
        painter.wait()
        painter.stdout.close()
        # The last line may be cut; the one before it is a stroke that was reported as finished.
        finished = max([finished, *(int(line) for line in lines[:-1])])
        with Project.open(path) as project:
            assert project.problems == ()
            regions = np.asarray(project.image("a").regions[...])
        painted = int(regions.max())
        assert painted >= finished
        for stroke in range(max(1, finished - 30), finished + 1):
            y, x = divmod(stroke * 7, 500)
            assert (regions[y, x] >= stroke).all(), stroke  # later strokes may lie over it
        assert (regions[500 + (finished * 7 // 500) % 10] >= finished).any()


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
        session.reported.connect(lambda report: print(report.checkpoint, flush=True))
        session.fine_tune()
        session.run_until_idle()
    """
    (tmp_path / "train.py").write_text(textwrap.dedent(script))
    trainer = subprocess.Popen(
        [sys.executable, str(tmp_path / "train.py"), str(tmp_path / "p.zarr")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert trainer.stdout.readline()
    assert trainer.stdout.readline()
    family = psutil.Process(trainer.pid).children(recursive=True)
    time.sleep(0.1)
    trainer.kill()
    trainer.wait()
    trainer.stdout.close()
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
