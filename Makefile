# Each target sets up what it needs, in a virtual environment of its own, with pinned packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FIND_PHOTO := import importlib.resources as r; print(r.files("skimage") / "data" / "astronaut.png")

.PHONY: demo picture test test-all lint format clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,test,dev]"
	touch $@

$(VENV)/installed-demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[demo]"
	touch $@

# From nothing to a head pose: out/astronaut.jpg and out/astronaut.jsonl.
demo: $(VENV)/installed-demo
	$(BIN)/trg predict "$$($(BIN)/python -c '$(FIND_PHOTO)')" -o out --draw

# The README's picture, made again after the weights have changed.
picture: demo
	mkdir -p docs/images
	cp out/astronaut.jpg docs/images/astronaut.jpg

test: $(VENV)/installed lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Everything, the slow tests too.
test-all: $(VENV)/installed lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m ""

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist
