import pytest
from dassl.utils import (
    check_isfile,
    listdir_nohidden,
    mkdir_if_missing,
    read_json,
    tolist_if_not,
    write_json,
)


def test_json_round_trip_makes_the_folder(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json({"naïve": [1, 2.5, None]}, path)
    assert read_json(path) == {"naïve": [1, 2.5, None]}


def test_listdir_nohidden(tmp_path):
    for name in ("b", ".hidden", "a"):
        (tmp_path / name).touch()
    assert listdir_nohidden(tmp_path, sort=True) == ["a", "b"]
    assert sorted(listdir_nohidden(tmp_path)) == ["a", "b"]


def test_check_isfile_warns(tmp_path):
    (tmp_path / "there").touch()
    assert check_isfile(tmp_path / "there")
    with pytest.warns(UserWarning, match="no file at"):
        assert not check_isfile(tmp_path / "gone")


def test_mkdir_if_missing_twice(tmp_path):
    mkdir_if_missing(tmp_path / "a" / "b")
    mkdir_if_missing(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_tolist_if_not():
    assert tolist_if_not("abc") == ["abc"]
    assert tolist_if_not([1, 2]) == [1, 2]
