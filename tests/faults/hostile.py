"""Hostile values and damaged files, and a bound on the memory that reading them may take."""

from __future__ import annotations

import contextlib
import copy
import json
import os

import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

NUMBERS = (0, -1, 1, 2**31, 2**63, 10**400, 1e308, -0.5, float("inf"), float("nan"))
NAMES = (
    "",
    ".",
    "..",
    "../x",
    "../../outside",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "c:x",
    "\0",
    "é" * 300,
)

HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(NUMBERS)
    | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
"""Any JSON value, those that do harm more often than others."""


def _places(value, path=()):
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from _places(inner, (*path, key))


@st.composite
def spoilt_json(draw, value):
    """Return a JSON value with one to three of its parts replaced or taken out."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_places(value))))
        if not path:
            return draw(HOSTILE)
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        if draw(st.integers(0, 4)):
            holder[path[-1]] = draw(HOSTILE)
        else:
            del holder[path[-1]]
    return value


@st.composite
def spoilt_bytes(draw, good):
    """Return bytes with some replaced, cut off or added."""
    damaged = bytearray(good)
    for _ in range(draw(st.integers(0, 6))):
        if damaged:
            damaged[draw(st.integers(0, len(damaged) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        damaged = damaged[: draw(st.integers(0, len(damaged)))]
    return bytes(damaged) + draw(st.sampled_from((b"", b"\0" * 64, b"{", b"\xff" * 8)))


def spoil_file(data, path):
    """Damage a file: as JSON where it is some, as bytes, or take it away."""
    good = path.read_bytes()
    how = data.draw(st.sampled_from(("json", "json", "json", "bytes", "gone", "folder")))
    if how == "gone":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "json" and path.suffix == ".json":
        value = data.draw(spoilt_json(json.loads(good)))
        path.write_text(json.dumps(value, ensure_ascii=True))
    else:
        path.write_bytes(data.draw(spoilt_bytes(good)))


def examples(count):
    """Return hypothesis settings for so many examples, each of which may take its time."""
    return settings(
        max_examples=count,
        deadline=None,
        report_multiple_bugs=False,
        # Without shrinking: it would copy and damage a whole project thousands of times.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@contextlib.contextmanager
def within_memory(mebibytes=768):
    """Refuse this process more memory than it has and so much; no error may come from that.

    A typed error counts as well where running out of memory is what caused it: what a header
    claims must be compared with what is there before memory is asked for.
    """
    resource = pytest.importorskip("resource")  # POSIX only
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process(os.getpid()).memory_info().vms + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    except BaseException as error:
        cause: BaseException | None = error
        while cause is not None:
            assert not isinstance(cause, MemoryError), "a header's claim was believed"
            assert "alloc" not in str(cause).lower(), f"a header's claim was believed: {cause}"
            cause = cause.__cause__ or cause.__context__
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
