# Two commands do all the set-up on a fresh machine:
#   make demo    sets up and runs the main job (opens napari where there is a display)
#   make test    sets up and passes the tests
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV   ?= .venv
BIN    := $(VENV)/bin

# These run in processes that never import torch, as napari's must not: beside the rest, and after it.
BESIDE := tests/ui tests/session tests/store
AFTER  := tests/cli

.PHONY: demo test test-slow lint screenshots clean

demo: $(VENV)/installed
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then .ci/system-packages; fi
	$(BIN)/napari-cas demo

test: $(VENV)/installed-dev lint
	.ci/system-packages xvfb
	.ci/test-halves $(BIN)/python $(BESIDE) -- $(AFTER)

test-slow: $(VENV)/installed-dev
	.ci/system-packages xvfb
	HYPOTHESIS_PROFILE=default .ci/with-display $(BIN)/python -m pytest -m slow

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

screenshots: $(VENV)/installed-dev
	.ci/system-packages xvfb
	.ci/with-display $(BIN)/python docs/make_screenshots.py

# The Qt binding comes with the extra "all", as napari's plugin guide asks.
$(VENV)/installed: pyproject.toml
	.ci/make-venv $(PYTHON) $(VENV)
	$(BIN)/pip install --quiet --editable ".[all]"
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --editable ".[all,distributed,remote]" --group dev
	touch $@

clean:
	rm -rf $(VENV) build dist napari-cas-demo .mypy_cache .pytest_cache .ruff_cache
