"""Paths in a prototxt: from the working directory, then from the file that names them."""

import pytest

from netc.errors import NetcError, Place
from netc.files.paths import resolve


@pytest.fixture
def net(tmp_path, monkeypatch):
    """here/ is the working directory, nets/net.prototxt names the paths."""
    for folder in ("here", "nets"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "nets/net.prototxt"


def test_the_working_directory_comes_first(net, tmp_path):
    (tmp_path / "nets/mean").touch()
    assert resolve("mean", str(net)) == str(tmp_path / "nets/mean")
    (tmp_path / "here/mean").touch()
    assert resolve("mean", str(net)) == "mean"
    assert resolve("../nets/mean", str(net)) == "../nets/mean"


def test_an_absolute_path_is_itself(net, tmp_path):
    (tmp_path / "nets/mean").touch()
    assert resolve(str(tmp_path / "nets/mean"), str(net)) == str(tmp_path / "nets/mean")
    with pytest.raises(NetcError) as caught:
        resolve(str(tmp_path / "mean"), str(net))
    assert " or " not in caught.value.message


def test_a_missing_path_names_both_places_and_the_nearest_name(net, tmp_path):
    (tmp_path / "nets/ilsvrc_train_lmdb").mkdir()
    place = Place(str(net), 7, 3)
    with pytest.raises(NetcError) as caught:
        resolve("ilsvrc_trian_lmdb", str(net), "database", place)
    error = caught.value
    assert (error.code, error.line) == ("F120", 7)
    assert f"{tmp_path}/here/ilsvrc_trian_lmdb or {tmp_path}/nets/ilsvrc_trian_lmdb" in str(error)
    assert f"{tmp_path}/nets/ilsvrc_train_lmdb" in error.hint


def test_text_that_came_from_no_file(net, tmp_path):
    with pytest.raises(NetcError, match=f'no file "mean": there is no {tmp_path}/here/mean'):
        resolve("mean")
    with pytest.raises(NetcError, match="there is no"):
        resolve("mean", "<text>")
