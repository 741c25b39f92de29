"""Runs one exported file many times in a process that loads nothing else, and says how long
it took and how much memory: what a device would need. Called by `benchmarks.formats`.

    python benchmarks/run_file.py FILE SIGNATURE INPUTS.npz RUNS THREADS

Prints JSON: milliseconds (median, p95), resident memory of the whole process at its peak (MiB).
"""

import json
import os
import pathlib
import sys
import time

import numpy as np


def saved_model(path, signature, threads):
    """A signature of a SavedModel as a function of named arrays."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    loaded = tf.saved_model.load(path)
    function = loaded.signatures[signature]

    def run(**inputs):
        answer = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in answer.items()}

    run.loaded = loaded  # signatures do not keep their model alive
    return run


def tflite(path, signature, threads):
    """The one graph of a TFLite file as a function of named arrays."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=path, num_threads=threads).get_signature_runner(signature)


def onnx(path, signature, threads):
    """An ONNX file as a function of named arrays."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda **inputs: session.run(None, inputs)


def measure(run, inputs: dict, runs: int) -> dict:
    """Milliseconds of `runs` calls after one that is not counted, and peak memory."""
    milliseconds = []
    for number in range(runs + 1):
        started = time.perf_counter()
        run(**inputs)
        if number:
            milliseconds.append(1000 * (time.perf_counter() - started))
    return {
        "median": float(np.median(milliseconds)),
        "p95": float(np.percentile(milliseconds, 95)),
        "peak_mib": peak_kib() / 2**10,
    }


def peak_kib() -> int:
    """Peak resident memory since this program began; `getrusage` would also count what the
    process was before, a copy of its parent (Linux)."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


def main():
    path, signature, inputs, runs, threads = sys.argv[1:]
    load = {".tflite": tflite, ".onnx": onnx}.get(pathlib.Path(path).suffix, saved_model)
    with np.load(inputs) as arrays:
        given = dict(arrays)
    print(json.dumps(measure(load(path, signature, int(threads)), given, int(runs))))


if __name__ == "__main__":
    main()
