# Everything from a bare Python 3.11 to 3.13: `make demo`, `make test`. `make help` lists all.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready

DEMO_DATA := data/demo
DEMO_RUN  := runs/demo
DEMO_FOLD := 1
# Photos of class 6, which fold 1 never trains on.
DEMO_VOC     := $(DEMO_DATA)/VOC
DEMO_CLASS   := 6
DEMO_SUPPORT := demo_val_0005
DEMO_QUERIES := demo_val_0025 demo_val_0045 demo_val_0065 demo_val_0085
# Things in the photos of examples/, to be found by the model that comes along.
DEMO_THINGS  := cat cup

# How long each campaign lasts: `make campaigns MINUTES=20`.
MINUTES := 2

# Silences TensorFlow's start-up notes; warnings and errors stay.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-all campaigns docs lint lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## find things in photographs; then draw a data set, train, evaluate, predict
	for thing in $(DEMO_THINGS); do \
	  $(RUN) -m crnet_tf.predict --support=examples/$$thing.jpg \
	    --support_mask=examples/$${thing}_mask.png --query=examples/photos \
	    --out=$(DEMO_RUN)/$$thing || exit 1; done
	$(RUN) -m pipelines.build_demo --out=$(DEMO_DATA)
	$(RUN) -m crnet_tf.train --fold=$(DEMO_FOLD) --out=$(DEMO_RUN)
	$(RUN) -m crnet_tf.evaluate --checkpoint=$(DEMO_RUN)/best.keras --episodes=150 \
	  --records=$(DEMO_DATA)/records --out=$(DEMO_RUN)/evaluation
	@mkdir -p $(DEMO_RUN)/queries
	cp $(foreach photo,$(DEMO_QUERIES),$(DEMO_VOC)/JPEGImages/$(photo).jpg) $(DEMO_RUN)/queries
	$(RUN) -m crnet_tf.predict --checkpoint=$(DEMO_RUN)/best.keras --engine=keras \
	  --support=$(DEMO_VOC)/JPEGImages/$(DEMO_SUPPORT).jpg --class_id=$(DEMO_CLASS) \
	  --support_mask=$(DEMO_VOC)/SegmentationClassAug/$(DEMO_SUPPORT).png \
	  --query=$(DEMO_RUN)/queries --out=$(DEMO_RUN)/predictions
	@echo
	@echo "Done. One-shot IoU on the five unseen classes, in percent:"
	@echo
	@cat $(DEMO_RUN)/evaluation/scores.md
	@echo
	@echo "  found in photographs $(foreach thing,$(DEMO_THINGS),$(DEMO_RUN)/$(thing)/panel.png)"
	@echo "  found in drawings    $(DEMO_RUN)/predictions/panel.png"
	@echo "  page of scores       $(DEMO_RUN)/evaluation/report.html"
	@echo "  TensorBoard          $(VENV)/bin/tensorboard --logdir=$(DEMO_RUN)/logs"

test: $(READY)  ## run the tests but the slow ones
	$(RUN) -m pytest -n auto --dist=loadfile -m "not slow"

test-all: $(READY)  ## run all tests
	$(RUN) -m pytest -n auto --dist=loadfile

campaigns: $(READY)  ## kill commands, give damaged files, soak a server: docs/reliability.md
	$(RUN) tools/kill_campaign.py --minutes=$(MINUTES)
	$(RUN) tools/malformed_campaign.py --cases=$$(( 500 * $(MINUTES) ))
	$(RUN) tools/soak.py --minutes=$(MINUTES)

docs: $(READY)  ## build the documents' site into build/site
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

lock:  ## write requirements.lock anew, from requirements-dev.txt
	$(RUN) -m pip install -qq uv
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(RUN) -m uv pip compile --quiet --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-annotate --output-file requirements.lock requirements-dev.txt

lint: $(READY)  ## check the style
	$(RUN) -m ruff check .

clean:  ## remove what make has built; your own records and runs stay
	rm -rf $(VENV) $(DEMO_DATA) $(DEMO_RUN) .pytest_cache .ruff_cache .cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an interrupted installation is taken up again by the next call.
$(READY): requirements.lock
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "No '$(PYTHON)' on this machine. Install Python 3.11 to 3.13, or name one:" \
	       "make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "CRNet-TF needs Python 3.11 to 3.13, '$(PYTHON)' is" \
	       "$$("$(PYTHON)" --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian or Ubuntu:" \
	       "apt install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about 2 GB, a minute or more) ..."
	@"$(PYTHON)" -m venv $(VENV)
	@$(RUN) -m pip install -qq --disable-pip-version-check \
	  --require-hashes -r requirements.lock
	@touch $@
