# Two commands: `make train` and `make test`. All targets are idempotent.

VENV := .venv
BIN := $(VENV)/bin
# The first Python ≥ 3.11 there is.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
CONFIG ?= configs/fashion_mnist/prm_resnet14.py
JOBS ?= 2

.PHONY: help env data weights solar train detect trees evaluate predict predict-photo test test-all \
	lint format figures notebooks bench clean

help:
	@echo "make train     environment, data, PRM-ResNet-14 on Fashion-MNIST"
	@echo "make detect    a small RetinaNet with PRM on scenes of Fashion-MNIST's items"
	@echo "make trees     aerial photographs of trees in boxes (20 MB, MIT)"
	@echo "make test      environment, data, every test but the slow ones"
	@echo "make test-all  the slow tests, too"
	@echo "make env       the environment alone, in $(VENV)"
	@echo "make data      Fashion-MNIST alone"
	@echo "make weights   MobileNetV2's public weights, twenty photos, class names"
	@echo "make solar     photographs of solar cells (87 MB, CC BY-NC-SA 4.0)"
	@echo "make evaluate  test accuracy of the trained network"
	@echo "make predict   classes and query points of test images"
	@echo "make predict-photo PHOTO=FILE  what MobileNetV2 sees on a photo"
	@echo "make lint      format, lint, types, import direction"
	@echo "make format    formats the code"
	@echo "make figures   draws the pictures of the documents"
	@echo "make notebooks runs the notebooks and stores their outputs"
	@echo "make bench     measures what benchmarks/results lacks (hours), prints the table"

env: $(VENV)/.complete

$(VENV)/.complete: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[train,tensorboard,dev]'
	@touch $@

data: env
	@$(BIN)/python -m train.data.datasets.fashion_mnist

weights: env
	@$(BIN)/python -m train.data.datasets.imagenet_samples

solar: env
	@$(BIN)/python -m train.data.datasets.solar_cells

train: env
	@$(BIN)/python -m train fit $(CONFIG) $(ARGS)

trees: env
	@$(BIN)/python -m train.data.datasets.deepforest

detect: env
	@$(BIN)/python -m train fit configs/fashion_scenes/retinanet_prm_resnet14.py $(ARGS)

evaluate: env
	@$(BIN)/python -m train evaluate $(CONFIG) $(ARGS)

predict: env
	@$(BIN)/python -m train predict $(CONFIG) $(ARGS)

predict-photo: weights
	@$(BIN)/python -m train predict configs/imagenet/mobilenet_v2.py \
		--init "$$($(BIN)/python -m train.data.datasets.imagenet_samples)/mobilenet_v2-b0353104.pth" \
		$(if $(PHOTO),--predict.images "$(PHOTO)") $(ARGS)

# pytest counts what is left out: "… deselected".
test: TESTS := -m "not slow"
test test-all: env data weights
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		$(TESTS) $(ARGS)

lint: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports

format: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

figures: env
	$(BIN)/python -m prm_flax.figures module docs/prm.png
	$(BIN)/python -m prm_flax.figures module docs/prm-dark.png --dark
	$(BIN)/python -m prm_flax.figures heads docs/heads.png
	$(BIN)/python -m prm_flax.figures heads docs/heads-dark.png --dark

notebooks: env data weights
	@$(BIN)/python notebooks/execute.py $(ARGS)

# What is measured here sees none of the compilers for chips that are not here.
bench: build/preflight/.complete build/peers/.complete
	PYTHONPATH=build/preflight $(BIN)/python -m benchmarks layer steps growth detection $(ARGS)
	PYTHONPATH=build/peers $(BIN)/python -m benchmarks wall peers $(ARGS)
	@$(BIN)/python -m benchmarks table

# As .ci/preflight does it.
build/preflight/.complete: pyproject.toml | $(VENV)/.complete
	rm -rf build/preflight
	@mkdir -p build
	$(BIN)/python -c 'import tomllib; \
		project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*project["optional-dependencies"]["preflight"], sep="\n")' \
		>build/preflight.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target build/preflight --requirement build/preflight.txt
	@touch $@

build/peers/.complete: benchmarks/peers.txt | $(VENV)/.complete
	rm -rf build/peers
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--target build/peers --requirement benchmarks/peers.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
