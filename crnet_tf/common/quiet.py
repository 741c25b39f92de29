"""TensorFlow's notes on its own start are not shown; real warnings and errors are.

Environment variables do not do: some lines are written before TensorFlow reads them.
"""

import contextlib
import importlib.abc
import importlib.machinery
import os
import pathlib
import re
import sys
import tempfile

# What TensorFlow and gRPC write in C++: errors only, unless the user wants more.
LEVELS = {"TF_CPP_MIN_LOG_LEVEL": "2", "GRPC_VERBOSITY": "ERROR"}
START_UP = re.compile(
    r"All log messages before absl::InitializeLog|cudart_stub|cpu_feature_guard|util/port\.cc"
    r"|enable the following instructions|Unable to register cu|computation_placer|TF-TRT"
    r"|XNNPACK delegate for CPU"
)
NO_GPU = re.compile(r"failed call to cuInit|cuda_diagnostics|Cannot dlopen some GPU libraries")
NVIDIA = pathlib.Path("/proc/driver/nvidia")  # where a driver is, its failures are real


def hide_start_up_lines() -> None:
    """Call before TensorFlow is imported, by whatever module."""
    for name, level in LEVELS.items():
        os.environ.setdefault(name, level)
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _TensorFlowFinder())


class _TensorFlowFinder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow where it is, and has it executed in silence."""

    def find_spec(self, fullname, path, target=None):
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module):
                with start_up_lines_hidden():
                    execute(module)
                    module.config.list_physical_devices()  # which looks for GPUs

            spec.loader.exec_module = execute_quietly
        return spec


@contextlib.contextmanager
def start_up_lines_hidden():
    """Keeps back what is written to stderr, also by C++, and lets through all but the notes."""
    sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # there is none
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            for line in kept.read().decode(errors="backslashreplace").splitlines():
                if not is_start_up(line):
                    print(line, file=sys.stderr)


def is_start_up(line: str) -> bool:
    """Whether a line only tells how TensorFlow starts."""
    return bool(START_UP.search(line) or (not NVIDIA.exists() and NO_GPU.search(line)))
