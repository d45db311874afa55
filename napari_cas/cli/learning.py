"""Fine-tuning as a command does it: the images, the rounds, and the report of both."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_cas.cli import files, job
from napari_cas.errors import ConfigError, ImageError, WorkerError
from napari_cas.session import merging, projects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.cli.console import Console
    from napari_cas.config import Config
    from napari_cas.session import Session


def continued(session: Session, *, anew: bool = False) -> job.Job:
    """Return the job on a session's project: the one that a kill has interrupted, or a new one."""
    assert session.project is not None  # noqa: S101 - opened by the command
    return _noted(session, session.config, anew=anew) or job.Job(
        session.project.path, job.key_of_project(session.project, session.config, anew=anew)
    )


def configure(session: Session, console: Console, config: Config, *, anew: bool) -> None:
    """Put settings in place; a model is let go only where a new one was asked for.

    Parameters
    ----------
    session : Session
        Has the project open.
    console : Console
        Hears where a model is that is let go.
    config : Config
        What is to count from now on.
    anew : bool
        Whether a new model was asked for.

    Raises
    ------
    ConfigError
        The model cannot go on with these settings.
    """
    going_on = _noted(session, config, anew=anew) is not None
    if session.checkpoint is not None and not (going_on and config.model == session.config.model):
        if anew:
            _let_go(session, console)
        elif config.model != session.config.model:
            before, wanted = session.config.model.model_dump(), config.model.model_dump()
            changed = [name for name in before if before[name] != wanted[name]]
            raise ConfigError(
                "The project's model cannot go on with another network",
                expected=", ".join(f"{name} {before[name]}" for name in changed),
                got=", ".join(f"{name} {wanted[name]}" for name in changed),
                todo="Add --anew to begin a new model from the same strokes; this one is kept.",
            )
    session.config = config


def _let_go(session: Session, console: Console) -> None:
    """Begin anew, with a copy of the model under a name that is not cleared up."""
    project, checkpoint = session.project, session.checkpoint
    assert project is not None  # noqa: S101 - opened by the command
    assert checkpoint is not None  # noqa: S101 - asked by the caller
    name = f"kept-{checkpoint.removeprefix('kept-')}"
    if name not in project.models:
        project.save_model(name, *project.load_model(checkpoint))
    session.reset_model()
    console.say(f"A new model begins; the one before is kept: {project.path / 'models' / name}")


def _noted(session: Session, config: Config, *, anew: bool) -> job.Job | None:
    """Return the job with these settings that was interrupted, if there is one."""
    if session.project is None or session.checkpoint is None:
        return None
    key = job.key_of_project(session.project, config, anew=anew)
    found = job.Job.recall(session.project.path, key)
    # Another model may have been loaded since: that one is not what the job has learnt.
    return found if found is not None and found.checkpoint == session.checkpoint else None


def take(
    session: Session,
    console: Console,
    made: job.Job,
    pairs: Sequence[tuple[str, str]],
    axes: str | None = None,
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
    axes : str, optional
        What the dimensions are of files that do not say it.
    refer : bool
        Whether OME-Zarr images are referred to rather than copied.

    Raises
    ------
    InputError
        An image or a map cannot be used.
    StorageError
        The file system refuses.
    """
    for image, regions in pairs[len(made.images) :]:
        assert session.project is not None  # noqa: S101 - opened by the command
        try:
            new = files.as_new_image(image, axes, refer=refer)
            made.coming(projects.free_name(new.name, session.project.taken))
            files.refuse_constant(new)
            (name,) = session.add_images([new])
        except ImageError as error:
            raise files.naming(error, image) from error
        made.came(session.project.image(name))
        count = files.paint(session.project.image(name), regions, axes)
        session.project.flush()  # raises: what is noted as taken has its strokes on disk
        made.taken(name, job.place(image))
        console.say(f"{image}: {count} region{'s' * (count != 1)}")


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
