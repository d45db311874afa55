"""Files are replaced whole and names are safe."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from napari_cas.errors import InputError, ProjectFormatError, StorageError
from napari_cas.store.files import (
    is_url,
    read_json,
    refuse_url,
    safe_name,
    storage_error,
    storing,
    write_json,
)


@given(st.text(max_size=200))
@example(":\xa00")
@example("con." + "a" * 116)
@example("con" + " " * 150 + "a")
def test_every_name_becomes_one_safe_component(name):
    safe = safe_name(name)
    assert safe_name(safe) == safe
    assert safe
    assert len(safe.encode()) <= 255
    assert not set(safe) & set('/\\:*?"<>|\x00')
    assert safe[0] not in ". "
    assert safe[-1] not in ". "


@given(st.text(max_size=200), st.integers(2, 10**6))
@example("a" * 120, 2)
@example("é" * 60, 10)
@example("a" * 117 + ". b", 2)
@example("con." + "a" * 116, 2)
def test_a_number_behind_a_name_stays_there_and_the_name_safe(name, number):
    safe = safe_name(safe_name(name), f"-{number}")
    assert safe.endswith(f"-{number}")
    assert len(safe) > len(f"-{number}")
    assert safe_name(safe) == safe
    assert len(safe.encode()) <= 120


def test_replacing_keeps_the_old_until_the_new_is_whole(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(StorageError):
        write_json(tmp_path / "no" / "a.json", {})


@pytest.mark.parametrize("content", [b"", b"[1]", b"null", b"\xff\xfe", b'{"a": ', b"[" * 100_000])
def test_what_is_no_json_object_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ProjectFormatError, match=r"a\.json"):
        read_json(path)


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: takes no space
    with pytest.raises(ProjectFormatError, match="too large"):
        read_json(path)


def test_storage_errors_say_what_to_do(tmp_path):
    for code, todo in ((errno.ENOSPC, "Free some space"), (errno.EACCES, "permission")):
        with pytest.raises(StorageError, match=todo), storing(tmp_path):
            raise OSError(code, "refused")


def test_a_file_within_a_path_is_named(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"")
    for folder in (file, file / "deep" / "er"):
        words = r"a\.png is a file, not a folder"
        with pytest.raises(StorageError, match=words) as raised, storing(folder):
            (folder / "new").mkdir(parents=True)
        assert "disk" not in raised.value.todo
    with pytest.raises(StorageError, match="shorter name"), storing(tmp_path / ("a" * 300)):
        (tmp_path / ("a" * 300)).mkdir()


@pytest.mark.parametrize("url", ["s3://a/b", Path("s3://a/b"), "https://a", "file:///a"])
def test_urls_are_known_as_such(url):
    assert is_url(url)
    with pytest.raises(InputError, match="A model must be in a folder"):
        refuse_url(url, "A model")


@pytest.mark.parametrize("path", ["a/b", "/a/b", "c:/a", "c:\\a", "a:b", ""])
def test_paths_are_no_urls(path):
    refuse_url(path, "A model")


@pytest.mark.parametrize(("code", "room"), [(errno.ENOSPC, "space"), (errno.EDQUOT, "quota")])
def test_only_of_what_stays_in_memory_it_is_said_to_be_saved_again(tmp_path, code, room):
    full = OSError(code, "full")
    assert storage_error(full, tmp_path).todo == (
        f"Free some {room} and try again, or choose another place."
    )
    assert f"Free some {room}; nothing is lost" in storage_error(full, tmp_path, kept=True).todo
    other = OSError(errno.EACCES, "refused")
    assert "permission" in storage_error(other, tmp_path, kept=True).todo


def test_names_that_are_no_text_are_kept_and_others_readable(tmp_path):
    for value in ({"name": os.fsdecode(b"x\xff.png"), "other": "ä"}, {"name": "ä"}):
        write_json(tmp_path / "a.json", value)
        assert read_json(tmp_path / "a.json") == value
    assert "ä" in (tmp_path / "a.json").read_text(encoding="utf-8")
