# Commands for trying and developing hvs-mm. Each target does the set-up it needs; `make help` lists them.
#
#   STACK=openmmlab   OpenMMLab's own releases in a second environment, instead of the OneDL forks
#   PYTHON=python3.11 the interpreter for a new environment (3.10 to 3.12)
#   VENV=path         where the environment lives
#   JOBS=N            processes that run tests at a time, about 2 GB of memory each; one more than cores
#   ARGS='...'        passed on to the demo or to pytest: ARGS='-n 0 --pdb tests/test_apis.py' debugs one file

.DEFAULT_GOAL := help
.ONESHELL:
SHELL := /bin/sh
.SHELLFLAGS := -euc
.PHONY: help demo test test-all soak lint format docs detection trackers setup venv dist release upgrade clean key

STACK ?= onedl
PYTHON ?=
ARGS ?=
# One more than cores: many tests wait for processes that they start.
JOBS ?= $(shell echo $$(($$(nproc) + 1)))

ifeq ($(STACK),onedl)
  VENV ?= .venv
  MM_REQUIREMENTS := requirements/mminstall.txt requirements/mim.txt
  INSTALL_COST := about 4 minutes, 8 GB on disk
else ifeq ($(STACK),openmmlab)
  VENV ?= .venv-openmmlab
  MM_REQUIREMENTS := requirements/openmmlab.txt
  INSTALL_COST := about 4 minutes, 6 GB on disk
  ifneq ($(filter detection,$(MAKECMDGOALS)),)
    $(error Detection needs STACK=onedl: mmdet 3.3.0 refuses the mmcv 2.2.0 of STACK=openmmlab)
  endif
else
  $(error STACK=$(STACK) is unknown; expected onedl or openmmlab)
endif

CONSTRAINTS := requirements/constraints-$(STACK).txt
REQUIREMENTS := requirements/runtime.txt $(MM_REQUIREMENTS) requirements/tests.txt
VENV_PYTHON := $(VENV)/bin/python
PIP := "$(VENV_PYTHON)" -m pip --disable-pip-version-check
# What an environment was made from. It is written into the environment last, so a set-up that broke off half-way is
# never taken for a finished one.
KEY = $(shell cat $(REQUIREMENTS) $(CONSTRAINTS) | sha256sum | cut -c 1-12)
PACKAGE_KEY = $(CURDIR) $(shell cat setup.py pyproject.toml hvs_mm/version.py | cksum)

help: ## List the targets
	@echo "make <target> [STACK=onedl|openmmlab] [PYTHON=...] [VENV=...] [ARGS='...']"
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Upstream warns about optional parts that the demo does not use.
demo: setup ## Train with and without hard views on built-in images and compare (CPU, 3 minutes)
	@PYTHONWARNINGS=ignore exec "$(VENV_PYTHON)" tools/demo.py $(ARGS)

# A process that has run its tests takes over half of what another has left: tests of a file mostly stay together, and
# share its fixtures. More than 8 processes would only repeat the imports.
# With bytecode on disk, whatever the user's own setting: the tests start hundreds of processes.
PYTEST := -m pytest -n $(JOBS) --maxprocesses=8 --dist=worksteal

test: setup ## Run the tests, but for the slow ones (a few minutes; ARGS=... for one file)
	@PYTHONDONTWRITEBYTECODE= exec "$(VENV_PYTHON)" $(PYTEST) -m 'not slow' $(ARGS)

# OpenMMLab's stack has no MMDetection, and skips its tests.
test-all: setup trackers $(if $(filter onedl,$(STACK)),detection) ## Run all tests
	@PYTHONDONTWRITEBYTECODE= exec "$(VENV_PYTHON)" $(PYTEST) $(ARGS)

soak: setup ## Let a small run meet faults and check that it survives them (3 minutes; ARGS='--minutes 120')
	@exec "$(VENV_PYTHON)" tools/dev/soak.py $(ARGS)

detection: setup ## Add MMDetection (about 2 minutes, 400 MB)
	@$(PIP) install -q --build-constraint $(CONSTRAINTS) -c $(CONSTRAINTS) -r requirements/detection.txt

trackers: setup ## Add TensorBoard, MLflow and Weights & Biases, for their tests
	@$(PIP) install -q -c $(CONSTRAINTS) -r requirements/trackers.txt

lint: setup ## Check style, formatting, types and the Dockerfile
	@"$(VENV_PYTHON)" -m ruff check .
	"$(VENV_PYTHON)" -m ruff format --check .
	"$(VENV_PYTHON)" -m mypy
	"$(VENV)/bin/hadolint" Dockerfile

format: setup ## Format the code and fix what can be fixed
	@"$(VENV_PYTHON)" -m ruff check --fix .
	"$(VENV_PYTHON)" -m ruff format .

# An environment of its own: the site reads the sources without importing them, so it needs neither torch nor MM*.
DOCS_VENV ?= .venv-docs
DOCS_CONSTRAINTS := requirements/constraints-docs.txt
DOCS_KEY = $(shell cat requirements/docs.txt $(DOCS_CONSTRAINTS) | sha256sum | cut -c 1-12)

docs: ## Build the site into site/, strictly: no broken link, anchor or reference (30 s, then offline)
	@if [ "$$(cat "$(DOCS_VENV)/.hvs-mm" 2>/dev/null)" != "$(DOCS_KEY)" ]; then
	    $(find_python)
	    "$$python" -m venv "$(DOCS_VENV)"
	    "$(DOCS_VENV)/bin/python" -m pip --disable-pip-version-check install -q \
	        -c $(DOCS_CONSTRAINTS) -r requirements/docs.txt
	    echo "$(DOCS_KEY)" > "$(DOCS_VENV)/.hvs-mm"
	fi
	# The theme would advertise its successor.
	NO_MKDOCS_2_WARNING=true "$(DOCS_VENV)/bin/python" -m mkdocs build $(ARGS)

dist: setup ## Build the sdist, and the wheel from it, into dist/
	@rm -rf dist
	"$(VENV_PYTHON)" -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null
	$(PIP) wheel -q --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	ls dist

# In a bare environment, as a user has it: what the wheel itself asks for must be enough. twine comes after the trial.
RELEASE_VENV := .venv-release

release: dist ## Check the packages, try them in a bare environment, say how to release (10 minutes; uploads nothing)
	@git ls-files > dist/tracked
	"$(VENV_PYTHON)" tools/dev/release.py dist --tracked dist/tracked
	rm -rf dist/tracked "$(RELEASE_VENV)"
	$(find_python)
	"$$python" -m venv "$(RELEASE_VENV)"
	pip="$(RELEASE_VENV)/bin/python -m pip --disable-pip-version-check"
	$$pip install -q -c $(CONSTRAINTS) pip
	echo "Installing $$(echo dist/*.whl)[$(STACK),export] into $(RELEASE_VENV) ..."
	$$pip install -q --build-constraint $(CONSTRAINTS) -c $(CONSTRAINTS) "$$(echo dist/*.whl)[$(STACK),export]"
	tools/dev/smoke_test.sh "$(RELEASE_VENV)"
	$$pip install -q twine
	"$(RELEASE_VENV)/bin/python" -m twine check --strict dist/*
	version=$$(sed -n "s/^__version__ = '\(.*\)'/\1/p" hvs_mm/version.py)
	echo "dist/ is ready, and nothing was uploaded. To release $$version:"
	echo "  1. bash .ci/run                                 # everything a change must pass"
	echo "  2. replace 'unreleased' in CHANGELOG.md by the date, and commit"
	echo "  3. git tag -a v$$version -m 'hvs-mm $$version' && git push origin v$$version"
	echo "  4. .github/workflows/release.yml builds, checks and publishes what the tag names;"
	echo "     without it: $(RELEASE_VENV)/bin/python -m twine upload dist/*"

# What all versions must fit: everything that `make` installs, under the oldest Python.
RESOLVED := pip $(REQUIREMENTS:%=-r %) -r requirements/trackers.txt
ifeq ($(STACK),onedl)
  RESOLVED += -r requirements/detection.txt
endif

upgrade: ## Pin the newest versions that fit together, run the tests on them, write upgrade.diff (half an hour)
	@oldest=$(or $(PYTHON),python3.10)
	"$$oldest" -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 10))' || {
	    echo "make upgrade resolves under Python 3.10, the oldest: make upgrade PYTHON=/path/to/python3.10" >&2
	    exit 1
	}
	work=$$(mktemp -d)
	trap 'rm -rf "$$work"' EXIT
	"$$oldest" -m venv "$$work/venv"
	"$$work/venv/bin/python" -m pip install -q --upgrade pip
	# resolve <name of the constraints> <requirements>
	resolve() {
	    name=$$1; shift
	    echo "Resolving requirements/constraints-$$name.txt ..."
	    "$$work/venv/bin/python" -m pip install -q --dry-run --ignore-installed --report "$$work/$$name.json" \
	        -c "requirements/caps-$$name.txt" --build-constraint "requirements/caps-$$name.txt" "$$@"
	    "$$oldest" tools/dev/upgrade.py "$$work/$$name.json" "requirements/constraints-$$name.txt"
	}
	resolve docs -r requirements/docs.txt
	resolve $(STACK) $(RESOLVED)
	git diff -- requirements > upgrade.diff
	echo "The difference is in upgrade.diff. Now the tests; 'git checkout requirements' goes back."
	$(MAKE) --no-print-directory docs DOCS_VENV=.venv-upgrade-docs
	$(MAKE) --no-print-directory test STACK=$(STACK) PYTHON="$$oldest" VENV=.venv-upgrade

clean: ## Remove the environments, caches and build output of this checkout
	@for venv in .venv .venv-openmmlab .venv-docs .venv-upgrade .venv-upgrade-docs; do
	    if [ -f "$$venv/.hvs-mm" ]; then rm -rf "$$venv"; fi
	done
	rm -rf $(RELEASE_VENV) build dist site hvs_mm.egg-info hvs_mm/.mim .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find hvs_mm configs tools tests -type d -name __pycache__ -prune -exec rm -rf {} +

# Prints the interpreter to use, or says what was found and how to go on.
define find_python
found=
for candidate in $(or $(PYTHON),python3 python3.12 python3.11 python3.10); do
    if ! command -v "$$candidate" >/dev/null 2>&1; then
        found="$$found\n  $$candidate: not found"; continue
    fi
    version=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=broken
    case "$$version" in
        3.10|3.11|3.12)
            if "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then python=$$candidate; break; fi
            found="$$found\n  $$candidate: $$version without venv (Debian, Ubuntu: apt install python$$version-venv)" ;;
        broken) found="$$found\n  $$candidate: does not run" ;;
        *) found="$$found\n  $$candidate: version $$version" ;;
    esac
done
if [ -z "$${python:-}" ]; then
    printf 'hvs-mm needs CPython 3.10, 3.11 or 3.12. Tried:%b\n' "$$found" >&2
    echo 'Install one of them, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11' >&2
    exit 1
fi
endef

# The name of a cached environment outside of the checkout (see .ci/run).
key:
	@$(find_python)
	echo "$(STACK)-$$version-$(KEY)"

setup: ## Create or update the environment (every target above does it by itself)
	@fail() {
	    echo "Set-up of $(VENV) failed: $$1. It is not used as it is; 'make setup' starts it afresh." >&2
	    exit 1
	}
	state=$$(cat "$(VENV)/.hvs-mm" 2>/dev/null || true)
	current=$$("$(VENV_PYTHON)" -c 'import sys; print(sys.version)' 2>/dev/null || true)
	wanted=$$current
	if [ -n "$(PYTHON)" ]; then wanted=$$($(PYTHON) -c 'import sys; print(sys.version)' 2>/dev/null || true); fi
	if [ "$$state" != "$(KEY)" ] || [ -z "$$current" ] || [ "$$current" != "$$wanted" ]; then
	    if [ -e "$(VENV)" ] && [ ! -f "$(VENV)/.hvs-mm" ] && [ -n "$$(ls -A "$(VENV)")" ]; then
	        echo "$(VENV) exists and was not made by this Makefile: name another place with VENV=." >&2
	        exit 1
	    fi
	    $(find_python)
	    echo "Installing the $(STACK) stack into $(VENV) with $$python (torch with CUDA: $(INSTALL_COST)) ..."
	    rm -rf "$(VENV)"
	    mkdir -p "$(VENV)"
	    # From here on the folder is known as ours; the key follows when everything stands.
	    echo unfinished > "$(VENV)/.hvs-mm"
	    "$$python" -m venv "$(VENV)" || fail 'python -m venv'
	    $(PIP) install -q -c $(CONSTRAINTS) pip setuptools wheel || fail 'pip install pip setuptools wheel'
	    # MMCV and MMPretrain are source distributions: their builds get the pinned setuptools, too.
	    $(PIP) install -q --build-constraint $(CONSTRAINTS) -c $(CONSTRAINTS) \
	        $(addprefix -r ,$(REQUIREMENTS)) || fail 'pip install of the requirements'
	    echo "$(KEY)" > "$(VENV)/.hvs-mm"
	fi
	# The link to this checkout: made again when the checkout moved or its metadata changed.
	if [ "$$(cat "$(VENV)/.hvs-mm-package" 2>/dev/null)" != "$(PACKAGE_KEY)" ] || [ ! -e hvs_mm/.mim/configs ]; then
	    $(PIP) install -qq --no-deps --no-build-isolation -e . || fail 'pip install -e .'
	    echo "$(PACKAGE_KEY)" > "$(VENV)/.hvs-mm-package"
	fi

venv: setup
