import pytest

import training.kept
from napari_cas.errors import CheckpointError
from training.kept import code_digest, keep_scores, kept_scores, outdated


def test_scores_come_back_until_the_code_changes(tmp_path, monkeypatch):
    file = tmp_path / "run" / "scores.json"
    assert kept_scores(file) == {}
    keep_scores(file, {"f": 0.5})
    assert kept_scores(file) == {"f": 0.5}
    monkeypatch.setattr(training.kept, "code_digest", lambda: "other")
    assert kept_scores(file) == {}


def test_scores_without_a_digest_are_made_again(tmp_path):
    file = tmp_path / "scores.json"
    file.write_text('{"f": 0.5}')
    assert kept_scores(file) == {}


def test_scores_of_other_data_are_made_again(tmp_path):
    file = tmp_path / "scores.json"
    keep_scores(file, {"f": 0.5}, "these")
    assert kept_scores(file, "these") == {"f": 0.5}
    assert kept_scores(file, "those") == kept_scores(file) == {}


def test_damaged_scores_are_named(tmp_path):
    file = tmp_path / "scores.json"
    file.write_text("{")
    with pytest.raises(CheckpointError, match=r"scores\.json cannot be read.*Delete"):
        kept_scores(file)


def test_runs_by_other_code_are_counted():
    now = {"code": code_digest()}
    assert outdated([]) == outdated([now]) == []
    assert outdated([now, {}, {"code": "other"}])[0].startswith("2 of 3 runs were trained by an ")


def test_every_source_that_scores_changes_the_digest(tmp_path, monkeypatch):
    digests = [code_digest()]
    package = tmp_path / "napari_cas"
    (package / "metrics").mkdir(parents=True)
    monkeypatch.setattr(training.kept.napari_cas, "__path__", [str(package)])
    for source in ("a = 1", "a = 2"):
        (package / "metrics" / "regions.py").write_text(source)
        code_digest.cache_clear()
        digests.append(code_digest())
    monkeypatch.undo()
    code_digest.cache_clear()
    assert len(set(digests)) == 3
    assert code_digest() == digests[0]
