# Everything that a fresh clone needs: `make demo` and `make test` do all of
# their own set-up on a bare Debian 12 with Python 3.11. Plain `make` explains.

SHELL := /bin/bash
PYTHON ?= python3
QT ?= pyqt5
ARGS ?=

# PyQt5 and PyQt6 do not share an environment: their libraries clash.
ifeq ($(QT),pyqt5)
VENV := .venv
EXTRAS := all,dev
else ifeq ($(QT),pyqt6)
VENV := .venv-pyqt6
EXTRAS := pyqt6,dev
else
$(error QT is pyqt5 or pyqt6, not '$(QT)')
endif

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := build/demo

# What Qt needs of a bare Debian 12.
APT := libglib2.0-0 libfontconfig1 libxkbcommon-x11-0 libdbus-1-3 libxcb-icccm4 \
       libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0
ifeq ($(QT),pyqt6)
APT += libegl1 libxcb-cursor0
endif

# Without a screen the window is drawn on a virtual one: Qt's own offscreen
# platform has no OpenGL and would draw an empty canvas.
ifeq ($(shell uname -s),Linux)
ifeq ($(DISPLAY)$(WAYLAND_DISPLAY),)
HEADLESS := yes
APT += xvfb xauth
SCREEN := xvfb-run -a -s "-screen 0 1600x1000x24"
unexport QT_QPA_PLATFORM
endif
endif

# Processes that share the tests. On virtual screens each has its own (tests/conftest.py); on
# a real one their windows would take the keyboard from each other.
WORKERS ?= $(if $(HEADLESS),2,1)

# An empty NAPARI_CONFIG: no saved settings change what is tested or shown.
export NAPARI_CONFIG :=
export QT_API := $(QT)
export PYTEST_QT_API := $(QT)

.DEFAULT_GOAL := help
.PHONY: help system imagej install demo test lint format screenshots bench clean

help: ## this list
	@echo "Celltally. Each of these does its own set-up first:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "QT=pyqt6 does the same on PyQt6, in an environment of its own; ARGS=… goes to pytest."

system:
	@missing=""; \
	if command -v dpkg-query >/dev/null; then \
	  for package in $(APT); do \
	    dpkg-query -W -f='$${Status}\n' $$package 2>/dev/null | grep -q '^install ok installed' \
	      || missing="$$missing $$package"; \
	  done; \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	fi; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing the system packages$$missing."; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } \
	    || echo "Not all of them could be installed; without them a window may not open."; \
	else \
	  echo "A window needs system packages that are missing here; have them installed:$$missing."; \
	fi

# A test opens exported files in ImageJ. It is skipped where that is missing, and so no error.
imagej: | system
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && command -v dpkg-query >/dev/null \
	  && ! dpkg-query -W -f='$${Status}\n' imagej 2>/dev/null | grep -q '^install ok installed'; then \
	  echo "Installing ImageJ, which a test opens exported files in."; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends imagej >/dev/null; } \
	    || echo "ImageJ could not be installed; its test is skipped."; \
	fi

$(STAMP): pyproject.toml | system
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Celltally needs Python 3.11 or newer: name one, as in 'make PYTHON=python3.12 …'."; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
	  || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); } \
	  || { echo "Python cannot make an environment: install python3-venv and try again."; exit 1; }
	@echo "Installing celltally[$(EXTRAS)] into $(VENV)."
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
	   && $(BIN)/uv pip install --quiet --python $(BIN)/python -e ".[$(EXTRAS)]"; } \
	  || { echo "uv could not install it; trying pip, which takes longer."; \
	       $(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS)]"; }
	@touch $@

install: $(STAMP) ## the environment in .venv, and the system packages

demo: $(STAMP) ## count a real image in napari (without a screen: into build/demo)
ifdef HEADLESS
	@rm -f $(DEMO)/window.png $(DEMO)/counts.csv
	$(SCREEN) $(BIN)/celltally demo --out $(DEMO)
	@for file in window.png counts.csv; do \
	  test -s $(DEMO)/$$file || { echo "The demo did not write $(DEMO)/$$file."; exit 1; }; \
	done
	@echo "Wrote $(DEMO)/window.png and $(DEMO)/counts.csv:"; cat $(DEMO)/counts.csv
else
	$(BIN)/celltally demo
endif

test: $(STAMP) | imagej ## every test, those of the window included
	OMP_NUM_THREADS=1 $(SCREEN) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(STAMP) ## ruff, mypy, and the walls between the rooms
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(STAMP) ## ruff's fixes and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

screenshots: $(STAMP) ## the pictures of README and docs
	$(SCREEN) $(BIN)/python docs/screenshots.py
	$(BIN)/python docs/network_pictures.py

bench: $(STAMP) ## speed of counting, and how long the window stands still meanwhile
	$(BIN)/python benchmarks/throughput.py
	$(SCREEN) $(BIN)/python benchmarks/window_stall.py

clean: ## remove what was built (environments stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
