"""What is seen of a download, of unpacking and of a check: a bar, or a line per minute."""

import zipfile

import pytest
import web
from PIL import Image

from datasets.check import broken_images
from datasets.unpack import unpack
from vtclip import screen
from vtclip.download import PIECE, fetch


@pytest.fixture
def tasks(tmp_path):
    """Return functions that download, unpack and open three pieces each."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        Image.new("RGB", (9, 9)).save(images / f"{number}.png")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in images.iterdir():
            archive.write(path, path.name)

    def downloaded():
        (tmp_path / "y.tar.part").unlink(missing_ok=True)
        with web.serve() as (address, pages):
            pages["/y.tar"] = web.Page(bytes(3 * PIECE))
            fetch(f"{address}/y.tar", tmp_path / "y.tar.part")

    return {
        "download": downloaded,
        "unpacking": lambda: unpack(tmp_path / "x.zip", tmp_path / "out"),
        "check": lambda: broken_images(images, ["0.png", "1.png", "2.png"]),
    }


LINES = {
    "download": [f"downloading y.tar: {n} of 0.2 MB, 0 s left" for n in ("0.1", "0.1", "0.2")],
    "unpacking": [f"unpacking x.zip: {n} files, 0 s so far" for n in (1, 2, 3)],
    "check": [f"opening images: {n} of 3 images, 0 s left" for n in (1, 2, 3)],
}


@pytest.mark.parametrize("name", LINES)
def test_a_pipe_gets_a_line_now_and_then(name, tasks, capsys, monkeypatch):
    tasks[name]()
    # in less than a minute, none
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(screen, "SECONDS_BETWEEN_LINES", 0.0)
    tasks[name]()
    said = capsys.readouterr()
    assert said.out.splitlines() == LINES[name]
    assert said.err == ""
