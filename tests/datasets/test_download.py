"""Downloads from a server that breaks off, stalls or lies."""

import hashlib

import gdown
import pytest
import web

from datasets.download import download
from datasets.sources import Remote, drive
from vtclip import download as module
from vtclip.download import PIECE
from vtclip.errors import UserError

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    monkeypatch.setattr(module, "TIMEOUT_S", (1.0, 0.3))


@pytest.fixture
def server():
    with web.serve() as served:
        yield served


@pytest.fixture
def fetch(server, tmp_path):
    address, pages = server

    def run(page, **known):
        pages["/x.tar"] = page
        return download(Remote((f"{address}/x.tar",), "x.tar", **known), tmp_path / "work")

    return run


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "work").iterdir())


def test_a_whole_file_is_fetched_once(fetch, tmp_path):
    page = web.Page(CONTENT)
    assert fetch(page, md5=MD5, size=len(CONTENT)).read_bytes() == CONTENT
    assert fetch(page).read_bytes() == CONTENT
    assert page.asked == [""]
    assert left(tmp_path) == ["x.tar"]


def test_a_truncated_transfer_goes_on_where_it_broke_off(fetch, tmp_path):
    page = web.Page(CONTENT, cuts=[5 * PIECE, 6 * PIECE])
    assert fetch(page, md5=MD5).read_bytes() == CONTENT
    assert page.asked == ["", f"bytes={5 * PIECE}-", f"bytes={11 * PIECE}-"]
    assert left(tmp_path) == ["x.tar"]


def test_a_run_goes_on_from_the_part_that_another_left(fetch, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "x.tar.part").write_bytes(CONTENT[:1000])
    page = web.Page(CONTENT)
    assert fetch(page, md5=MD5).read_bytes() == CONTENT
    assert page.asked == ["bytes=1000-"]


def test_a_part_that_is_whole_already_is_taken(fetch, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "x.tar.part").write_bytes(CONTENT)
    assert fetch(web.Page(CONTENT), md5=MD5).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_begun_anew(fetch, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "x.tar.part").write_bytes(CONTENT + b"more")
    page = web.Page(CONTENT)
    assert fetch(page).read_bytes() == CONTENT
    assert page.asked[-1] == ""


def test_a_server_without_ranges_sends_all_again(fetch):
    page = web.Page(CONTENT, cuts=[300_000], ranges=False)
    assert fetch(page, md5=MD5).read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_mixed(fetch, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "x.tar.part").write_bytes(b"old" * 100)
    (tmp_path / "work" / "x.tar.part.tag").write_text('"old"')
    assert fetch(web.Page(CONTENT, etag='"new"')).read_bytes() == CONTENT
    assert left(tmp_path) == ["x.tar"]


def test_a_slow_server_is_left_and_asked_again(fetch):
    page = web.Page(CONTENT, cuts=[4 * PIECE, 4 * PIECE], stalls=1.0)
    assert fetch(page, md5=MD5).read_bytes() == CONTENT
    assert page.asked == ["", f"bytes={4 * PIECE}-", f"bytes={8 * PIECE}-"]


def test_a_server_that_gives_no_byte_more_is_given_up(fetch, tmp_path):
    page = web.Page(CONTENT, cuts=[PIECE] + [0] * 20)
    with pytest.raises(UserError, match=r"x\.tar: cannot be downloaded .*65,536 bytes, then"):
        fetch(page)
    assert len(page.asked) == 1 + module.MAX_FAILURES
    assert "x.tar.part" in left(tmp_path)
    assert "x.tar" not in left(tmp_path)


def test_a_corrupt_file_is_refused_and_removed(fetch, tmp_path):
    with pytest.raises(UserError, match=f"has MD5 .*, known is {MD5}"):
        fetch(web.Page(CONTENT[:-1] + b"\0"), md5=MD5)
    assert left(tmp_path) == []


def test_a_file_of_another_size_is_refused(fetch, tmp_path):
    with pytest.raises(UserError, match="has 1,024,000 bytes, known are 7"):
        fetch(web.Page(CONTENT), size=7)
    assert left(tmp_path) == []


def test_a_reply_without_its_size_is_taken_to_its_end(fetch):
    assert fetch(web.Page(CONTENT, length=False), md5=MD5).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, 5)])
def test_refusals_name_address_status_and_what_to_do(status, tries, fetch):
    with pytest.raises(UserError) as caught:
        fetch(web.Page(CONTENT, status=status))
    message = str(caught.value)
    assert f"HTTP status {status}" in message
    assert "/x.tar" in message
    assert "fetch it by hand to" in message


def test_the_second_address_serves_where_the_first_is_dead(server, tmp_path):
    address, pages = server
    pages["/b.tar"] = web.Page(CONTENT)
    remote = Remote((f"{address}/a.tar", f"{address}/b.tar"), "x.tar", md5=MD5)
    assert download(remote, tmp_path).read_bytes() == CONTENT


def test_a_host_that_does_not_answer(tmp_path):
    with pytest.raises(UserError, match="cannot be downloaded"):
        download(Remote(("http://127.0.0.1:9/x.tar",), "x.tar"), tmp_path)


def test_google_drive_is_asked_by_id(tmp_path, monkeypatch):
    asked = {}

    def give(**options):
        asked.update(options)
        (tmp_path / "x.json.part").write_bytes(b"{}")

    monkeypatch.setattr(gdown, "download", give)
    assert download(Remote((drive("ID"),), "x.json"), tmp_path).read_bytes() == b"{}"
    assert (asked["id"], asked["resume"]) == ("ID", True)


def test_google_drives_refusal_names_the_page(tmp_path, monkeypatch):
    def refuse(**_):
        raise gdown.exceptions.FileURLRetrievalError("too many users")

    monkeypatch.setattr(gdown, "download", refuse)
    with pytest.raises(UserError, match=r"drive\.google\.com/file/d/ID: too many users"):
        download(Remote((drive("ID"),), "x.json"), tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="work: cannot be written"):
        download(Remote(("http://127.0.0.1:9/x",), "x"), tmp_path / "file" / "work")
