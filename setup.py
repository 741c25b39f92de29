"""Installs CRNet-TF: `pip install .`, or `pip install -e ".[dev]"` to work on it.

The ranges here are those of the wheel. The exact versions that were tested together stand in
requirements.txt and requirements-dev.txt, which `make` installs.
"""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent


def locked(name: str) -> list[str]:
    """The exact requirements of a file, without comments and references to other files."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and line[0] not in "#-"]


setup(
    name="crnet-tf",
    version=re.search(r'__version__ = "(.+)"', (HERE / "crnet_tf/__init__.py").read_text())[1],
    description="Cross-Reference Networks for few-shot segmentation, in TensorFlow and Keras",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The CRNet-TF authors",
    license="MIT",
    keywords="few-shot segmentation, one-shot, PASCAL-5i, COCO-20i, Keras, TensorFlow",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: MIT License",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 14)),
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    packages=find_namespace_packages(include=["crnet*", "pipelines*", "export*"]),
    package_data={
        "crnet_tf": ["start.keras"],
        "export.server.page": ["*.html", "*.css", "*.js"],
        "": ["py.typed"],
    },
    entry_points={"console_scripts": ["crnet = crnet.__main__:main"]},
    python_requires=">=3.11,<3.14",
    # From what was tested to below the next major version.
    install_requires=[
        "tensorflow>=2.21,<3",
        "keras>=3.12.4,<4",
        "numpy>=2.2,<3",
        "scipy>=1.15,<2",
        "absl-py>=2.1,<3",
        "pillow>=11,<13",
        "h5py>=3.11,<4",
        "tensorflow-serving-api>=2.21,<3",
        "grpcio>=1.70,<2",
        "requests>=2.31,<3",
        "pooch>=1.8,<2",
        "tensorboard>=2.20,<3",
        "matplotlib>=3.10,<4",
        "contourpy>=1.3.2,<2",
    ],
    extras_require={
        "dev": locked("requirements-dev.txt"),
        "coco": ["pycocotools>=2.0.8,<3"],  # annotations of COCO and Label Studio
        "yolo": ["pyyaml>=6,<7"],  # YOLO's data.yaml
        "heic": ["pillow-heif>=0.22,<2"],  # photos of phones in HEIC
        "film": ["av>=18,<19"],  # films: predict --query=clip.mp4
        "hub": ["keras-hub>=0.32,<1"],  # --backbone=hub:FOLDER
        "tflite": ["ai-edge-litert>=2.1,<3"],  # export.tflite
        "onnx": ["onnx>=1.17,<2", "onnxruntime>=1.20,<2", "tf2onnx>=1.16,<2"],  # export.onnx
        # export.serve, the local server
        "serve": [
            "starlette>=1,<2",
            "uvicorn>=0.34,<1",
            "prometheus-client>=0.21,<1",
            "opencv-python-headless>=4.11,<6",
        ],
        "ray": ["ray>=2.50,<3"],  # builders and find with --ray, on a cluster
        # An environment of its own (it pins TensorFlow 2.20): tools/model_garden.py.
        "official": ["tf-models-official==2.20.0"],
        "jax": ["jax>=0.6"],  # the other back end: KERAS_BACKEND=jax
    },
)
