"""The wheel: what is in it, and that it works without the checkout."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import ROOT

BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"
# what else an environment may have by these names
OTHERS = {"datasets": "WHOSE = 'of another project'\n", "trainers": "WHOSE = 'of a fork'\n"}


def build(kind: str, source: Path, out: Path) -> Path:
    """Build a distribution as `python -m build --no-isolation` does; return its path."""
    command = [sys.executable, "-c", BUILD, kind, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.splitlines()[-1]


def project_files() -> list[str]:
    """Paths that git knows, or would know after `git add`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    for name in project_files():
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return build("build_sdist", folder / "source", folder)


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(sdist.parent, filter="data")
    return build("build_wheel", sdist.parent / sdist.name.removesuffix(".tar.gz"), sdist.parent)


@dataclass
class Installed:
    """An environment with the wheel, and a folder far from the checkout."""

    env: Path
    folder: Path

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DATA")}
        return subprocess.run(
            [str(self.env / "bin" / command), *arguments],
            cwd=self.folder,
            env={**variables, "VTCLIP_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Installed:
    """Install the wheel beside the packages of this environment, without its .pth files."""
    env, folder = wheel.parent / "env", wheel.parent / "elsewhere"
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True)
    python = str(env / "bin" / "python")
    (site,) = env.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for name, text in OTHERS.items():
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(text)
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "install", "-q", "--no-compile", "--no-deps", "--no-index", str(wheel)], check=True
    )
    return Installed(env, folder)


def test_the_source_distribution_is_the_checkout(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = [member.name.split("/", 1)[1] for member in archive if member.isfile()]
    made = {"PKG-INFO", "setup.cfg"}
    found = {name for name in members if name not in made and ".egg-info/" not in name}
    assert found == set(project_files())


def test_the_wheel_takes_no_name_but_its_own(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"vtclip"}
    packed = {name.removeprefix("vtclip/_checkout/") for name in names if "/_checkout/" in name}
    expected = {
        name
        for name in project_files()
        if name.startswith(("trainers/", "datasets/", "configs/", "toolkit/dassl/"))
    }
    assert packed == expected


def test_a_run_far_from_the_checkout(installed: Installed) -> None:
    done = installed.run("vtclip", "train", "--trainer", "ZeroshotCLIP", "--shots", "1")
    assert done.returncode == 0, done.stderr[-2000:]
    run = "output/digits/ZeroshotCLIP/tiny_1shots/seed1"
    # as in the README
    assert "accuracy 69.40 % on 719 test images" in done.stdout
    assert f"next: vtclip predict {run} IMAGE" in done.stdout
    with (installed.folder / run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))[::18]
    images = [f"data/{row['path']}" for row in rows]
    shown = installed.run("vtclip", "predict", run, *images, "--format", "csv", "--top", "1")
    assert shown.returncode == 0, shown.stderr[-2000:]
    first = [row["class"] for row in csv.DictReader(io.StringIO(shown.stdout))]
    assert len(set(first)) == 10 and first == [row["predicted"] for row in rows]
    table = installed.run("vtclip", "tables", "output", "--table")
    assert table.returncode == 0 and "69.40" in table.stdout


def test_names_of_shipped_configurations(installed: Installed) -> None:
    for name in ("dtd", "configs/datasets/dtd.yaml"):
        options = ("--trainer", "VTCLIP", "--dataset-config-file", name, "--config-file")
        planned = installed.run("vtclip", "train", *options, "VTCLIP/tiny", "--dry-run")
        assert planned.returncode == 0, planned.stderr
        assert planned.stdout.startswith("output/dtd/VTCLIP/tiny_-1shots")


def test_packages_of_the_same_names_stay_what_they_are(installed: Installed) -> None:
    code = "import datasets, vtclip.plugins as p; p.import_modules(['trainers']); import trainers"
    done = installed.run("python", "-c", f"{code}; print(datasets.WHOSE, trainers.WHOSE)")
    assert done.stdout == "of another project of a fork\n", done.stderr[-2000:]
    check = installed.run("vtclip", "datasets", "check", "digits")
    assert "vtclip datasets prepare NAME" in check.stdout or check.returncode == 0
    assert installed.run("vtclip", "features", "ls").stdout.endswith(" MB\n")
