"""A method as one file of a stranger: GDA-CLIP through --plugin, the run scripts and the table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vtclip.results import read_result

from ..conftest import ROOT

# GDA-CLIP (arXiv 2402.04087): Gaussian discriminant analysis beside zero-shot CLIP
METHOD = '''"""GDA-CLIP (arXiv 2402.04087): Gaussians of one covariance beside zero-shot CLIP."""

import torch
from dassl.engine import TRAINER_REGISTRY
from torch.nn import functional as F

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.methods.zero_shot import cosine_logits
from vtclip.search import geometric, grid_search


def gaussian_classifier(features, labels, n_classes):
    """Return weights [K, D] and biases [K] of the discriminant of features [N, D]."""
    means = torch.stack([features[labels == k].mean(0) for k in range(n_classes)])
    centred = features - means[labels]
    covariance = centred.T @ centred / (len(features) - 1)
    shrunk = (len(features) - 1) * covariance + covariance.trace() * torch.eye(len(covariance))
    precision = features.shape[1] * torch.linalg.pinv(shrunk)
    weights = means @ precision
    return weights, -(weights * means).sum(1) / 2


@TRAINER_REGISTRY.register()
class GDACLIP(FrozenCLIPTrainer):
    OPTIONS = {"ALPHA": Option(1.0, "weight beside zero-shot CLIP", low=0)}
    no_transfer_reason = "GDA-CLIP has means of its own classes alone."

    def fit(self):
        features, labels = self.features("train")
        g = F.normalize(features.global_features, dim=-1)
        weight, bias = gaussian_classifier(g.cpu(), labels.cpu(), len(self.classnames))
        return {"weight": weight, "bias": bias}

    def parts(self, features):
        g = F.normalize(features.global_features, dim=-1)
        fitted = F.linear(g, self.fitted["weight"], self.fitted["bias"])
        return cosine_logits(g, self.text_features, self.scale), fitted

    def logits(self, features):
        zero_shot, fitted = self.parts(features)
        return zero_shot + self.selected_params.get("alpha", self.options.ALPHA) * fitted

    def search(self):
        features, labels = self.features("val")
        zero_shot, fitted = self.parts(features)
        return grid_search(
            lambda alpha: zero_shot + alpha * fitted, labels, {"alpha": geometric(1e-4, 100.0, 7)}
        )
'''


def test_the_method_is_short() -> None:
    assert len(METHOD.splitlines()) <= 80


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gda_clip.py").write_text(METHOD)
    return tmp_path


def shell(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "DATA": str(folder / "data"),
        "VTCLIP_CACHE": str(folder / "cache"),
    }
    command = ["bash", str(ROOT / "scripts" / script), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_run_sh_base2new_and_the_table(folder: Path) -> None:
    ran = shell(folder, "run.sh", "GDACLIP", "digits", "2", "tiny", "--plugin", "gda_clip")
    assert ran.returncode == 0, ran.stderr
    seeds = folder / "output" / "digits" / "GDACLIP" / "tiny_2shots"
    results = [read_result(seeds / f"seed{seed}" / "result.json") for seed in (1, 2, 3)]
    assert {result.trainer for result in results} == {"GDACLIP"}
    assert all(result.accuracy > result.zero_shot_accuracy for result in results)
    assert all(result.settings["TRAINER.GDACLIP.ALPHA"] == 1.0 for result in results)
    assert len({result.config_digest for result in results}) == 1
    mean = sum(result.accuracy for result in results) / 3
    assert f"{mean:.2f}" in ran.stdout

    refused = shell(folder, "base2new.sh", "GDACLIP", "digits", "2", "tiny", "--plugin", "gda_clip")
    assert refused.returncode == 2
    assert "GDA-CLIP has means of its own classes alone" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (folder / "output_transfer").exists()

    table = subprocess.run(
        [sys.executable, str(ROOT / "parse_test_res.py"), "output", "--table"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert any("GDACLIP" in line and f"{mean:.2f}" in line for line in table.stdout.splitlines())


def test_train_py_takes_its_options(run_train, folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    plugin = ("--plugin", "gda_clip", "--trainer", "GDACLIP", "--shots", "1")
    one, two = folder / "one", folder / "two"
    assert run_train(*plugin, "--output-dir", str(one)) == 0
    assert run_train(*plugin, "--output-dir", str(two), "TRAINER.GDACLIP.ALPHA", "0.5") == 0
    assert run_train(*plugin, "--output-dir", str(two), "TRAINER.GDACLIP.ALPHA", "-1") == 2
    digests = [read_result(path / "result.json").config_digest for path in (one, two)]
    assert digests[0] != digests[1]


def test_the_classifier_is_that_of_the_formula() -> None:
    space: dict[str, object] = {}
    source = METHOD.split("@TRAINER_REGISTRY")[0].replace("from __future__", "#")
    exec(compile(source, "gda_clip", "exec"), space)
    torch.manual_seed(0)
    features = torch.randn(12, 5, dtype=torch.float64)
    labels = torch.arange(12) % 3
    weight, bias = space["gaussian_classifier"](features.float(), labels, 3)  # type: ignore[operator]
    assert isinstance(weight, Tensor)
    # by the scatter matrix, class by class, in float64
    scatter = torch.zeros(5, 5, dtype=torch.float64)
    means = []
    for k in range(3):
        part = features[labels == k]
        means.append(part.sum(0) / len(part))
        for row in part:
            scatter += torch.outer(row - means[-1], row - means[-1])
    shrunk = scatter + scatter.trace() / 11 * torch.eye(5, dtype=torch.float64)
    for k, mean in enumerate(means):
        expected = 5 * torch.linalg.solve(shrunk, mean)
        torch.testing.assert_close(weight[k].double(), expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(bias[k].double(), -(expected @ mean) / 2, atol=1e-4, rtol=1e-4)
