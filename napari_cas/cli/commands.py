"""What the commands do, but for predict: each answers with an exit code and fills the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.cli import files, job, learning, opening, options, outputs
from napari_cas.config import Config
from napari_cas.errors import InputError, ProjectFormatError, StorageError
from napari_cas.store import Project
from napari_cas.store.root import local_path

if TYPE_CHECKING:
    import argparse

    from napari_cas.cli.console import Console
    from napari_cas.session import Session


def fine_tune(arguments: argparse.Namespace, console: Console) -> int:
    """Fine-tune on a project, or on image files and their region maps."""
    paths = arguments.paths
    project = opening.named_project(paths)
    outputs.check_model(arguments.output)
    if project is not None:
        if arguments.regions:
            raise InputError("A project has its own regions", todo="Leave --regions out.")
        opening.refuse("makes a project of image files", project=arguments.project)
        opening.refuse("says how image files are read", axes=arguments.axes)
        with opening.project(console, project, arguments) as session:
            config = options.apply(session.config, arguments)
            learning.configure(session, console, config, anew=arguments.anew)
            made = learning.continued(session, anew=arguments.anew)
            _learn(session, console, made, arguments.output)
        return 0
    return _on_files(arguments, console)


def _on_files(arguments: argparse.Namespace, console: Console) -> int:
    """Fine-tune on image files and their region maps."""
    opening.refuse("is for a project that has a model", anew=arguments.anew)
    pairs = _pairs(arguments)
    files.check_axes(arguments.axes)
    config = options.apply(Config(), arguments)
    if arguments.project:
        where = local_path(arguments.project)
    else:
        where = job.unfinished(Path(arguments.output).resolve())
    fresh = not arguments.project or not where.exists()  # else others may have added to it
    made = job.begin(
        where, job.key_of_files(pairs, config, arguments.axes), ours=not arguments.project
    )
    resumed = bool(made.images)
    try:
        with console.session(config, opening.executor(arguments)) as session:
            opening.to_write(session, where)
            session.config = config
            refer = not arguments.project
            learning.take(session, console, made, pairs, arguments.axes, refer=refer)
            _learn(session, console, made, arguments.output)
    except InputError:
        if fresh and not resumed:  # what was given cannot be learnt from: nothing to go on with
            job.remove(where)
        raise
    if not arguments.project:
        job.remove(where)
    return 0


def _pairs(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Return image files with their maps of regions; raise where something is missing or left."""
    if not arguments.regions:
        files.refuse_lone_url(arguments.paths, "An image by URL is learnt from with --regions.")
        raise InputError(
            "What has been painted? These are images and no project",
            expected="--regions with one map an image",
        )
    if not arguments.output and not arguments.project:
        raise InputError("Where does the model go?", expected="--output DIR or --project DIR")
    maps = files.find_images(arguments.regions)
    pairs = files.pair(files.find_images(arguments.paths), maps)
    left = sorted({*maps} - {regions for _, regions in pairs})
    if left:
        raise InputError("A map of regions belongs to no image", got=", ".join(left[:5]))
    return pairs


def export(arguments: argparse.Namespace, console: Console) -> int:
    """Write a project as an OME-Zarr data set; exit with 2 when images had to be left out."""
    from napari_cas.store.export import export as write

    with Project.open(arguments.project, mode="r") as project:
        left = {} if arguments.image else project.damaged
        for name, error in left.items():
            console.problem(f"{name} is left out: {error}")
        written = write(
            project,
            arguments.output,
            images=arguments.image or None,
            include=arguments.include,
            overwrite=arguments.overwrite,
            progress=lambda done, total: console.bar(done, total, "Exporting"),
        )
        count = len(arguments.image or project.images)
    console.report |= {"export": str(written), "left_out": left}
    console.result(f"{_counted(count, 'image')} exported to {written}")
    return ProjectFormatError.exit_code if left else 0


def validate(arguments: argparse.Namespace, console: Console) -> int:
    """Check OME-Zarr data sets; exit with 1 when something is wrong."""
    from napari_cas.store.validate import validate as check

    problems = {path: [str(p) for p in check(path)] for path in arguments.paths}
    console.report["problems"] = problems
    for path, found in problems.items():
        console.result(f"{path}: {_counted(len(found), 'problem') if found else 'valid'}")
        for problem in found:
            console.result(f"  {problem}")
    return int(any(problems.values()))


def info(arguments: argparse.Namespace, console: Console) -> int:
    """Say what is in a project."""
    with Project.open(arguments.project, mode="r") as project:
        state = project.get_state()
        images = {}
        for name in project.images:
            entry = project.image(name)
            images[name] = told = files.describe(entry)
            console.result(
                f"{name}: {entry.axes} {'×'.join(map(str, entry.shape))} {entry.dtype}, "
                f"{_counted(told['regions'], 'region')} on "
                f"{_counted(told['painted_planes'], 'plane')}"
            )
        checkpoint = state.get("checkpoint")
        console.result(f"model: {checkpoint or 'none yet'}")
        for problem in project.problems:
            console.result(f"problem: {problem}")
        console.report |= {
            "project": str(project.path),
            "images": images,
            "checkpoint": checkpoint,
            "models": list(project.models),
            "problems": list(project.problems),
        }
    return 0


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _learn(session: Session, console: Console, made: job.Job, output: str | None) -> None:
    """Train what is left to train, keep the model, and forget the job."""
    learning.run(session, console, made)
    _keep_model(session, console, output)
    made.forget()


def _keep_model(session: Session, console: Console, output: str | None) -> None:
    """Say where the model is, after writing it where it was asked for."""
    if output:
        try:
            where = session.save_model(output)
        except StorageError as error:
            assert session.project is not None  # noqa: S101 - opened by the command
            kept = job.kept_in(session.project.path)
            raise error.saying(todo=f"{error.todo} {kept}") from error
        console.report["model"] = str(where)
        console.result(f"Model: {where}")
    else:
        console.result(f"Model: {session.checkpoint} in the project")
