from napari_cas.store import Project
from napari_cas.store.progress import Stage, stage_of


def test_stages_are_told_from_files(project, rng):
    entry = project.add_image("a", rng.random((40, 50)), "yx")
    assert stage_of(entry.folder) == Stage(painted=False, predicted=False)
    entry.regions[3:5, 3:5] = 1
    entry.regions.flush()
    assert stage_of(entry.folder) == Stage(painted=True, predicted=False)
    entry.regions[3:5, 3:5] = 0
    entry.regions.flush()
    assert stage_of(entry.folder) == Stage(painted=False, predicted=False)


def test_predictions_count_and_damage_does_not(project, rng):
    entry = project.add_image("a", rng.random((40, 50)), "yx")
    with Project.open(project.path, mode="worker") as worker:
        prediction = worker.image("a").prediction
        prediction[:] = 1
        prediction.flush()
    assert stage_of(entry.folder) == Stage(painted=False, predicted=True)
    (entry.folder / "labels" / "prediction" / "0" / "zarr.json").write_text("{}")
    assert stage_of(entry.folder) == Stage(painted=False, predicted=False)
    assert stage_of(project.path / "images" / "b") == Stage(painted=False, predicted=False)
