# Nothing needs activating: every target runs in .venv, which is made once and again when the pins or the packaging change.
PYTHON ?= python3
# Where torch comes from. The default index holds CPU builds; for a GPU: make install TORCH_INDEX=https://download.pytorch.org/whl/cu130
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PYTEST_ARGS ?= -n 2 --dist loadfile

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: install demo test lint
.DEFAULT_GOAL := demo

install: $(STAMP)

# torch comes first, from its own index: resolved with the rest, pip would fetch the several GB of a CUDA build.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.10 is needed, $(PYTHON) is " + sys.version.split()[0] + ": set PYTHON=" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --extra-index-url $(TORCH_INDEX) torch
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	$(PIP) check
	touch $@

demo: $(STAMP)
	$(BIN)/python -m c2f_monai demo

# One thread for each worker: the tensors are small.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
