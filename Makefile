# Everything from a bare Python 3.10 to 3.13: `make demo`, `make test`. `make help` lists all.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready

DEMO_DATA := data/demo
DEMO_RUN  := runs/demo
DEMO_FOLD := 1

# Silences TensorFlow's start-up notes; warnings and errors stay.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## build the demo set, train on it, evaluate, predict (under 15 minutes)
	$(RUN) -m pipelines.build_demo --out=$(DEMO_DATA)
	$(RUN) -m crnet_tf.train --fold=$(DEMO_FOLD) --out=$(DEMO_RUN)
	$(RUN) -m crnet_tf.evaluate --checkpoint=$(DEMO_RUN)/best.keras \
	  --records=$(DEMO_DATA)/records --split=val --out=$(DEMO_RUN)/evaluation
	$(RUN) -m crnet_tf.predict --checkpoint=$(DEMO_RUN)/best.keras \
	  --support=$(DEMO_DATA)/photos/support.jpg --support_mask=$(DEMO_DATA)/photos/support.png \
	  --query=$(DEMO_DATA)/photos/queries --out=$(DEMO_RUN)/predictions
	@echo
	@echo "Done."
	@echo "  picture panel  $(DEMO_RUN)/predictions/panel.png"
	@echo "  scores         $(DEMO_RUN)/evaluation"
	@echo "  TensorBoard    $(RUN) -m tensorboard.main --logdir $(DEMO_RUN)"

test: $(READY)  ## run the tests
	$(RUN) -m pytest

lint: $(READY)  ## check the style
	$(RUN) -m ruff check .

clean:  ## remove what make has built; your own records and runs stay
	rm -rf $(VENV) $(DEMO_DATA) $(DEMO_RUN) .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an interrupted installation is taken up again by the next call.
$(READY): requirements.txt requirements-dev.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "No '$(PYTHON)' on this machine. Install Python 3.10 to 3.13, or name one:" \
	       "make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "CRNet-TF needs Python 3.10 to 3.13, '$(PYTHON)' is" \
	       "$$("$(PYTHON)" --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian or Ubuntu:" \
	       "apt install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about 2 GB, a minute or more) ..."
	@"$(PYTHON)" -m venv $(VENV)
	@$(RUN) -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@
