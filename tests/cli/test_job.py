"""Fine-tuning on files that is interrupted: the same command goes on and learns the same."""

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time

import imageio.v3 as imageio
import numpy as np
import pytest
from scipy import ndimage

from napari_cas.cli import job, learning, main
from napari_cas.config import Config
from napari_cas.errors import ProjectError, ProjectLockedError, StorageError
from napari_cas.session import Session
from napari_cas.store import Project
from napari_cas.store.chunks import ChunkFiles
from napari_cas.store.models import import_model

WAIT = 1200
"""Seconds that a step may take on a machine that does other things, too."""
ROUNDS = 8


@pytest.fixture
def pictures(tmp_path):
    """Three images and their maps of regions, and the words of a command that learns from them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    regions = np.zeros((96, 128), np.uint8)
    for i in range(6):
        regions[4 + 15 * i : 12 + 15 * i, 10 + 8 * i : 40 + 8 * i] = i + 1
    for name in "abc":
        # Clouds in which regions differ by chance only: that takes several rounds to learn.
        image = ndimage.gaussian_filter(rng.normal(0, 1, (96, 128)), 4)
        image = (image - image.min()) / np.ptp(image) * 255
        imageio.imwrite(folder / f"{name}.png", image.astype(np.uint8))
        imageio.imwrite(folder / f"{name}_regions.png", regions)
    return folder


def words(folder, output, *more):
    images = [folder / f"{name}.png" for name in "abc"]
    maps = [folder / f"{name}_regions.png" for name in "abc"]
    settings = ["--max-rounds", ROUNDS, "--round-seconds", 600, "--channels", 4]
    listed = ["fine-tune", *images, "--regions", *maps, "--output", output, *settings, *more]
    return [str(word) for word in listed]


@pytest.fixture
def started():
    """Start commands in process groups of their own; what they print goes to a file."""
    running = []

    def start(arguments, report):
        with report.open("w") as out:
            command = [sys.executable, "-m", "napari_cas", *arguments]
            made = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        running.append(made)
        return made

    yield start
    for process in running:
        kill(process)


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(WAIT)


def notes(folder):
    """Return what is noted in all projects of a folder."""
    return [json.loads(path.read_text()) for path in folder.glob(f"*/{job.NOTE}")]


def until(process, condition):
    end = time.monotonic() + WAIT
    while process.poll() is None and not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
    return process.poll() is None


def assert_same(first, second):
    """Compare two models tensor by tensor, the optimiser's moments included."""
    (one, record), (other, again) = import_model(first), import_model(second)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert record["training"] == again["training"]
    assert record["config"] == again["config"]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("kept", [False, True])
def test_killed_at_random_moments_the_same_command_learns_the_same(
    started, pictures, tmp_path, kept
):
    work, moment = tmp_path / "work", random.Random(int(kept))
    work.mkdir()
    assert main([*words(pictures, tmp_path / "whole"), "--quiet"]) == 0
    more = ["--project", work / "p.zarr"] if kept else []
    arguments = words(pictures, work / "model", "--json", *more)
    kills, seen, report = 0, set(), tmp_path / "report.json"
    while True:
        process = started(arguments, report)
        before = notes(work)
        # At any moment: as images are copied, before, in or after a round, while the model is kept.
        alive = until(process, lambda before=before: notes(work) != before)
        if before and not notes(work):  # the model is there: what is left is to clear up
            process.wait(WAIT)
            break
        end = time.monotonic() + moment.uniform(0, 0.4)
        if not (alive and until(process, lambda end=end: time.monotonic() > end)):
            break
        kill(process)
        kills += 1
        seen |= {(len(note["images"]), note["rounds"]) for note in notes(work)}
        time.sleep(1)  # the worker notices within half a second that its parent has gone
    assert process.returncode == 0, report.read_text()
    text = report.read_text()
    told = json.loads(text[text.index("\n{") :])["fine_tune"]
    assert kills >= 3
    assert len(seen) >= 2
    assert told["rounds"] == ROUNDS or told["converged"]
    assert 0 < told["rounds_before"] <= told["rounds"]
    assert sorted(told["images"]) == ["a", "b", "c"]
    assert_same(tmp_path / "whole", work / "model")
    left = {p.name for p in work.iterdir() if not p.name.startswith(".tmp-model")}
    assert left == ({"model", "p.zarr"} if kept else {"model"})
    if kept:
        with Project.open(work / "p.zarr") as project:
            assert project.problems == ()
            assert project.get_state()["checkpoint"] == told["checkpoint"]


@pytest.fixture
def interrupted(pictures, tmp_path, monkeypatch):
    """A command of which the first run ends, without a word, as soon as a round is noted."""
    real = job.Job.reported

    def ends(self, report, most):
        real(self, report, most)
        raise KeyboardInterrupt

    arguments = words(pictures, tmp_path / "model", "--json", "--max-rounds", 2)
    with monkeypatch.context() as patch:
        patch.setattr(job.Job, "reported", ends)
        assert main(arguments) == 130
    return arguments, tmp_path / f"model{job.UNFINISHED}"


def test_an_interrupted_command_goes_on_and_clears_up(interrupted, tmp_path, capsys):
    arguments, unfinished = interrupted
    (note,) = notes(tmp_path)
    assert (note["images"], note["rounds"]) == (["a", "b", "c"], 1)
    # What got further than was noted is taken back: an image without its strokes.
    with Project.open(unfinished) as project:
        project.add_image("half", np.arange(600, dtype=np.uint8).reshape(20, 30), "yx")
    capsys.readouterr()
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)["fine_tune"]
    assert (told["rounds_before"], told["rounds"]) == (1, 2)
    assert sorted(told["images"]) == ["a", "b", "c"]
    assert {p.name for p in tmp_path.iterdir()} == {"model", "pictures"}


def test_a_model_that_cannot_be_written_says_where_the_work_is(
    pictures, tmp_path, monkeypatch, capsys
):
    arguments = words(pictures, tmp_path / "model", "--json", "--max-rounds", 1)

    def full(*_):
        raise StorageError("Could not write model (No space left)", todo="Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "save_model", full)
        assert main(arguments) == 2
    todo = json.loads(capsys.readouterr().out)["error"]["todo"]
    assert str(tmp_path / f"model{job.UNFINISHED}") in todo
    assert main(arguments) == 0  # nothing is learnt again, and the model is written
    told = json.loads(capsys.readouterr().out)["fine_tune"]
    assert told["rounds_before"] == told["rounds"] == 1
    assert {p.name for p in tmp_path.iterdir()} == {"model", "pictures"}


@pytest.mark.slow
def test_other_inputs_begin_anew(interrupted, pictures, tmp_path, capsys):
    arguments, _ = interrupted
    capsys.readouterr()
    later = (pictures / "a.png").stat().st_mtime + 5
    os.utime(pictures / "a.png", (later, later))
    assert main([*arguments, "--max-rounds", "1"]) == 0
    told = json.loads(capsys.readouterr().out)["fine_tune"]
    assert (told["rounds_before"], told["rounds"]) == (0, 1)
    assert {p.name for p in tmp_path.iterdir()} == {"model", "pictures"}


def test_a_job_on_a_project_goes_on_unless_more_was_painted(tmp_path):
    path = tmp_path / "p.zarr"
    with Project.create(path) as project:
        entry = project.add_image("a", np.arange(600, dtype=np.uint8).reshape(20, 30), "yx")
        entry.regions[5:9, 5:9] = 1
        entry.flush()
        key = job.key_of_project(project, Config())
        noted = job.Job(path, key)
        noted.rounds = 7
        noted.write()
        assert job.Job.recall(path, job.key_of_project(project, Config())).rounds == 7
        entry.regions[0:3, 0:3] = 2
        entry.flush()
        assert job.Job.recall(path, job.key_of_project(project, Config())) is None


@pytest.mark.parametrize("key", ["k", "another"])
def test_nothing_is_removed_where_another_command_is_at_work(tmp_path, key):
    made = job.begin(tmp_path / "m.unfinished.zarr", "k", ours=True)
    with (
        Project.open(made.path),
        pytest.raises(ProjectLockedError, match=r"Another command is at work.*another --output"),
    ):
        job.begin(made.path, key, ours=True)
    assert job.Job.recall(made.path, "k") is not None
    assert (job.begin(made.path, key, ours=True).key, [*tmp_path.iterdir()]) == (key, [made.path])


def test_projects_of_others_and_damaged_notes_are_left_alone(tmp_path):
    path = tmp_path / "p.zarr"
    path.mkdir()
    (path / "mine.txt").write_text("x")
    for ours in (False, True):
        with pytest.raises(ProjectError, match="cannot become a project"):
            job.begin(path, "k", ours=ours)
    assert [p.name for p in tmp_path.iterdir()] == ["p.zarr"]
    made = job.begin(tmp_path / "new" / "q.zarr", "k", ours=False)
    assert made.images == []
    with Project.open(made.path), pytest.raises(ProjectLockedError):
        job.begin(made.path, "k", ours=False)
    with pytest.raises(ProjectError, match="cannot become a project"):
        job.begin(made.path, "another", ours=False)
    for text in ("{", "[]", '{"key": "k"}', '{"key": "k", "images": 1, "rounds": "x"}'):
        (made.path / job.NOTE).write_text(text)
        assert job.Job.recall(made.path, "k") is None
    assert job.begin(made.path, "k", ours=True).rounds == 0


def test_of_a_project_that_is_kept_only_the_image_on_its_way_is_taken_back(tmp_path):
    pixels = np.arange(600, dtype=np.uint8).reshape(20, 30)
    made = job.begin(tmp_path / "p.zarr", "k", ours=False)
    made.coming("a")
    with Project.open(made.path) as project:
        made.came(project.add_image("a", pixels, "yx"))
        project.add_image("mine", pixels, "yx")
        for name in ("a", "mine"):
            project.image(name).regions[5:9, 5:9] = 1
    again = job.begin(made.path, "k", ours=False)
    assert again.images == []
    with Project.open(made.path) as project:
        assert project.images == ("mine",)
        assert project.image("mine").regions[6, 6] == 1


@pytest.mark.parametrize("came", [False, True])
def test_an_image_that_its_owner_added_under_that_name_stays(tmp_path, came):
    pixels = np.arange(600, dtype=np.uint8).reshape(20, 30)
    made = job.begin(tmp_path / "p.zarr", "k", ours=False)
    made.coming("a")
    with Project.open(made.path) as project:
        if came:  # and was taken out, since it was not whole
            made.came(project.add_image("a", pixels, "yx"))
            project.remove_image("a")
        project.add_image("a", pixels, "yx").regions[5:9, 5:9] = 1
    job.begin(made.path, "k", ours=False)
    with Project.open(made.path) as project:
        assert project.image("a").regions[6, 6] == 1


def test_an_image_whose_strokes_cannot_be_saved_is_not_noted_as_taken(
    pictures, tmp_path, monkeypatch, capsys
):
    write = ChunkFiles.write

    def full(files, *arguments, **options):
        if "/b/" in files.path.as_posix():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(files, *arguments, **options)

    listed = words(pictures, tmp_path / "model", "--project", tmp_path / "p.zarr")
    monkeypatch.setattr(ChunkFiles, "write", full)
    assert main(listed) == 2
    assert "No space left" in capsys.readouterr().err
    assert json.loads((tmp_path / "p.zarr" / job.NOTE).read_text())["images"] == ["a"]


def test_a_job_whose_model_is_another_by_now_is_not_gone_on_with(tmp_path):
    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image("a", np.arange(600, dtype=np.uint8).reshape(20, 30), "yx")
        noted = job.Job(project.path, job.key_of_project(project, Config()))
        noted.checkpoint, noted.rounds, noted.ended = "learnt", 1, True
        noted.write()
        for name in ("learnt", "loaded"):
            project.save_model(name, {"a": np.ones(3, np.float32)}, {})
    session = Session()
    session.open_project(project.path)
    session._work.use("learnt")
    assert learning.continued(session).ended
    session._work.use("loaded")
    assert not learning.continued(session).ended
    session.close()


def test_addresses_and_missing_files_have_keys_too(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    pairs = [("https://host/a.zarr", str(tmp_path / "a.png"))]
    before = job.key_of_files(pairs, Config())
    assert before == job.key_of_files(pairs, Config())
    assert before != job.key_of_files(pairs, Config(seed=1))
    assert before != job.key_of_files(pairs, Config(), "cyx")
    (tmp_path / "a.png").unlink()
    assert before != job.key_of_files(pairs, Config())
