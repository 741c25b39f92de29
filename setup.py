"""Installs crnet_tf, pipelines and export: `pip install .`, or `pip install -e ".[dev]"`."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The requirements of a file, without its comments and its references to other files."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and line[0] not in "#-"]


setup(
    name="crnet-tf",
    version="0.1.0",
    description="Cross-Reference Networks for few-shot segmentation, in TensorFlow and Keras",
    author="The CRNet-TF authors",
    license="MIT",
    packages=find_namespace_packages(include=["crnet_tf*", "pipelines*", "export*"]),
    package_data={
        "crnet_tf": ["start.keras"],
        "export.server.page": ["*.html", "*.css", "*.js"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=requirements("requirements.txt"),
    extras_require={
        "dev": requirements("requirements-dev.txt"),
        "coco": ["pycocotools==2.0.11"],  # annotations in COCO's format
        "heic": ["pillow-heif>=0.22"],  # photos of phones in HEIC
        "tflite": ["ai-edge-litert==2.3.0"],  # export.tflite
        "onnx": [  # export.onnx
            "onnx==1.23.2",
            'onnxruntime==1.31.1; python_version >= "3.11"',
            'onnxruntime==1.23.2; python_version < "3.11"',
            "tf2onnx==1.17.0",
        ],
        # export.serve, the local server
        "serve": ["starlette==1.10.0", "uvicorn==0.54.0", "prometheus-client==0.26.0"],
        "beam": ["apache-beam[tfrecord]==2.77.0"],  # builders with --runner, on a cluster
        # An environment of its own (it pins TensorFlow 2.20): tools/model_garden.py.
        "official": ["tf-models-official==2.20.0"],
        "jax": ["jax>=0.6"],  # the other back end: KERAS_BACKEND=jax
    },
)
