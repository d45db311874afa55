"""Fine-tuning as a command does it: the images, the rounds, and the report of both."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_cas.cli import files, job
from napari_cas.errors import WorkerError
from napari_cas.session import merging, projects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.cli.console import Console
    from napari_cas.session import Session


def continued(session: Session) -> job.Job:
    """Return the job on a session's project: the one that a kill has interrupted, or a new one."""
    assert session.project is not None  # noqa: S101 - opened by the command
    key = job.key_of_project(session.project, session.config)
    path = session.project.path
    found = job.Job.recall(path, key)
    return job.Job(path, key) if found is None or session.checkpoint is None else found


def take(
    session: Session,
    console: Console,
    made: job.Job,
    pairs: Sequence[tuple[str, str]],
    *,
    refer: bool,
) -> None:
    """Take the images that are not in a job's project yet, with their strokes.

    Parameters
    ----------
    session : Session
        Has the project open.
    console : Console
        Hears of each image.
    made : Job
        Notes each image.
    pairs : sequence of (str, str)
        Image and map of regions.
    refer : bool
        Whether OME-Zarr images are referred to rather than copied.

    Raises
    ------
    InputError
        An image or a map cannot be used.
    """
    for image, regions in pairs[len(made.images) :]:
        assert session.project is not None  # noqa: S101 - opened by the command
        new = files.as_new_image(image, refer=refer)
        made.coming(projects.free_name(new.name, session.project.images))
        (name,) = session.add_images([new])
        count = files.paint(session.project.image(name), regions)
        session.flush()
        made.taken(name)
        console.say(f"{image}: {count} regions")


def run(session: Session, console: Console, made: job.Job) -> None:
    """Train the rounds that are left, with all that the report says of them.

    Raises
    ------
    CASError
        Fine-tuning failed.
    """
    before, most, start = made.rounds, session.config.fit.max_rounds, time.perf_counter()
    console.clicked()
    if before:
        console.say(f"Going on after {before} rounds.")
    if not made.ended:
        noted = partial(made.reported, most=most)
        session.reported.connect(noted)
        try:
            with console.refusals():
                session.fine_tune(most - before)
            console.wait(session)
        finally:
            session.reported.disconnect(noted)
    if not made.rounds:
        raise WorkerError("No round was finished")
    alike = [merging.sentence(group) for group in session.alike]
    for sentence in alike:
        console.say(sentence)
    console.report["fine_tune"] = _report(session, made, before) | {
        "seconds": round(time.perf_counter() - start, 3),
        "seconds_to_first_prediction": console.report.pop("first", None),
        "alike": alike,
    }


def _report(session: Session, made: job.Job, before: int) -> dict[str, Any]:
    """Return what was learnt, and from what."""
    project = session.project
    assert project is not None  # noqa: S101 - opened by the command
    return {
        "checkpoint": session.checkpoint,
        "rounds": made.rounds,
        "rounds_before": before,
        **made.summary,
        "channels": session.config.model.channels,
        "warnings": sorted({text for report in session.reports for text in report.warnings}),
        "images": {name: files.describe(project.image(name)) for name in project.images},
    }
