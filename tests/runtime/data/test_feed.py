"""A batch is a pure function of its number: no order of calls, number of threads or restart can change it."""

import gc
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

import netc
from netc import proto
from netc.errors import NetcError
from netc.runtime.data import can_probe, datum, hdf5_feed, open_feed, probe
from tests.runtime.data.made import data_layer, encoded, photo, raw, write_lmdb

RECIPE = """rescale_param { min_short_side: 24 max_short_side: 40 } crop_size: 20 mirror: true mean_value: 104
    mean_value: 117 mean_value: 123 color_shift_param { eigenvalue: 900 eigenvalue: 80 eigenvalue: 6
    eigenvector: [1, 0, 0, 0, 1, 0, 0, 0, 1] }"""
SHUFFLED = "batch_size: 5 sampling_param { shuffle: true }"


def labels(feed, batches, stop=None):
    return [feed.batch(k, stop)[1].int().tolist() for k in batches]


def same(one, other):
    return all(a.equal(b) for a, b in zip(one, other, strict=True))


# -- purity ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_any_number_of_threads_gives_the_same_batches(photos, feed_of, workers):
    one, other = (feed_of(photos, RECIPE, SHUFFLED, workers=n) for n in (2, workers))
    for k in range(6):
        assert same(one.batch(k), other.batch(k))


def test_any_order_of_calls_gives_the_same_batches(photos, feed_of):
    """What a resumed run sees: it starts in the middle."""
    straight = feed_of(photos, RECIPE, SHUFFLED)
    expected = [straight.batch(k) for k in range(7)]
    resumed = feed_of(photos, RECIPE, SHUFFLED)
    for k in (4, 5, 6, 0, 3, 3, 1):
        assert same(resumed.batch(k), expected[k])


def test_what_keys_the_draws(photos, feed_of):
    """The order: the seed alone, so that images and label images stay together. Crop, flip and colours: also the
    layer's name, or that of its group."""
    first, seed, name = (
        feed_of(photos, RECIPE, SHUFFLED, seed=seed, name=name).batch(0)
        for seed, name in ((1, "a"), (2, "a"), (1, "b"))
    )
    assert not first[0].equal(seed[0])
    assert not first[1].equal(seed[1])
    assert not first[0].equal(name[0])
    assert first[1].equal(name[1])


def test_a_group_draws_alike(photos, feed_of):
    """Different layers, the same records: the same crop, flip, scale and colours; another group, others."""
    tied = [
        feed_of(photos, RECIPE + f' random_group: "{group}"', SHUFFLED, name=name)
        for group, name in (("pair", "a"), ("pair", "b"), ("others", "a"))
    ]
    for k in range(5):
        a, b, other = (feed.batch(k)[0] for feed in tied)
        assert a.equal(b)
        assert not a.equal(other)


def test_batch_size_does_not_change_what_stands_at_a_position(photos, feed_of):
    """N processes that share a batch must draw what one would."""
    whole = feed_of(photos, RECIPE, "batch_size: 6 sampling_param { shuffle: true }").batch(1)
    half = feed_of(photos, RECIPE, "batch_size: 3 sampling_param { shuffle: true }")
    for top, (a, b) in zip(whole, zip(half.batch(2), half.batch(3), strict=True), strict=True):
        assert top.equal(torch.cat([a, b]))


def test_a_batch_is_the_callers_own(tiles, feed_of):
    feed = feed_of(tiles)
    first = feed.batch(0)[0]
    kept = first.clone()
    feed.batch(1)[0].zero_()
    assert first.equal(kept)
    first.zero_()
    assert feed.batch(0)[0].equal(kept)


# -- order -------------------------------------------------------------------------------------------------------------


def test_batches_wrap_round_the_end(tiles, feed_of):
    assert labels(feed_of(tiles), range(4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 0], [1, 2, 3, 4]]


def test_shuffled_epochs_are_permutations_each_its_own(tiles, feed_of):
    feed = feed_of(tiles, options=SHUFFLED)
    sequence = [label for batch in labels(feed, range(11)) for label in batch]  # five epochs of 11
    epochs = [sequence[start : start + 11] for start in range(0, 55, 11)]
    assert all(sorted(epoch) == list(range(11)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_a_test_of_the_whole_set_ends_with_a_short_batch(tiles, feed_of):
    feed = feed_of(tiles, phase="TEST")
    assert feed.size == 11
    assert labels(feed, range(3), stop=feed.size) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert [len(top) for top in feed.batch(2, 11)] == [3, 3]


def test_labels_follow_their_pictures(tiles, feed_of):
    plain = feed_of(tiles, options="batch_size: 11").batch(0)[0]
    data, found = feed_of(tiles, options=SHUFFLED).batch(3)
    assert data.equal(plain[found.long()])
    assert found.dtype == torch.float32


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_shapes_are_what_probe_said(photos, tiles, feed_of):
    for source, settings in ((tiles, ""), (photos, RECIPE), (photos, "crop_size: 30 force_gray: true")):
        feed = feed_of(source, settings)
        layer = data_layer(source, settings)
        expected = [tuple(top.shape) for top in feed.batch(0)]
        assert feed.shapes == expected == list(probe(layer.param, 0))


def test_pictures_of_different_sizes_one_at_a_time(photos, feed_of):
    """Caffe shapes each batch by its first picture; with one picture a batch nothing has to fit."""
    feed = feed_of(photos, options="batch_size: 1", phase="TEST")
    assert [tuple(feed.batch(k)[0].shape[2:]) for k in range(4)] == [(40 + 3 * i, 61 - 2 * i) for i in range(4)]


@pytest.mark.parametrize("workers", [1, 4])
def test_pictures_of_different_sizes_in_one_batch(photos, feed_of, workers):
    feed = feed_of(photos, options="batch_size: 13", workers=workers)
    with pytest.raises(
        NetcError, match=r'"00000000" \(40×61, 3 channels\) and "00000001" \(43×59, 3 channels\)'
    ) as caught:
        feed.batch(0)
    assert caught.value.code == "D522"
    assert "crop_size" in caught.value.hint


def test_gray_among_colour(tmp_path, feed_of):
    records = {b"a": encoded(photo(20, 20)), b"b": encoded(photo(20, 20)[..., 0])}
    source = write_lmdb(tmp_path / "db", records)
    with pytest.raises(NetcError, match="1 channel") as caught:
        feed_of(source).batch(0)
    assert "force_color" in caught.value.hint
    assert feed_of(source, "force_color: true").batch(0)[0].shape == (4, 3, 20, 20)


# -- broken records ----------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path):
    """Records 9 and 17 of 40 are not pictures."""
    records = {b"%08d" % i: encoded(photo(24, 24, i), i) for i in range(40)}
    records[b"00000009"] = proto.Datum(encoded=True, data=records[b"00000009"].data[:300])
    records[b"00000017"] = b"\xff\xff\xff\xff"
    return write_lmdb(tmp_path / "db", records)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_first_broken_record_is_named_whatever_the_threads(broken, feed_of, workers):
    feed = feed_of(broken, options="batch_size: 40", workers=workers)
    for _ in range(3):
        with pytest.raises(NetcError, match='record "00000009" of .* cannot be decoded: .*[Tt]runcated') as caught:
            feed.batch(0)
        assert caught.value.code == "D520"


def test_an_error_ahead_waits_for_its_batch(broken, feed_of):
    feed = feed_of(broken, options="batch_size: 8")
    assert labels(feed, [0]) == [list(range(8))]
    time.sleep(0.2)  # batches 1 and 2 have failed by now
    assert labels(feed, [3]) == [list(range(24, 32))]
    with pytest.raises(NetcError, match="00000017"):
        feed.batch(2)


def test_a_broken_first_record_is_found_on_opening(tmp_path):
    source = write_lmdb(tmp_path / "db", {b"first": b"\x01"})
    with pytest.raises(NetcError, match='"first"') as caught:
        data_layer(source)
    assert caught.value.code == "D520"


# -- threads and processes ---------------------------------------------------------------------------------------------


def test_close_leaves_no_thread_and_no_handle(photos):
    before = threading.active_count()
    feed = open_feed(data_layer(photos, RECIPE), 0, 1, workers=4)
    feed.batch(0)
    assert threading.active_count() > before
    feed.close()
    feed.close()
    assert threading.active_count() == before
    del feed
    gc.collect()


def test_batches_are_prepared_ahead(photos, feed_of, monkeypatch):
    feed = feed_of(photos, RECIPE)
    feed.batch(0)
    time.sleep(0.3)  # the training step
    waited = feed.waited
    monkeypatch.setattr(datum, "from_datum", None)  # what is asked for now is there already
    feed.batch(1)
    assert feed.waited - waited < 0.05


def test_train_and_test_nets_share_a_database(tiles, feed_of):
    train, test = feed_of(tiles), feed_of(tiles, phase="TEST")
    for k in range(5):
        assert labels(train, [k]) == labels(test, [k])
    test.close()
    assert labels(train, [5]) == [[9, 10, 0, 1]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_forked_child_can_go_on_reading(tiles, feed_of):
    feed = feed_of(tiles)
    expected = feed.batch(1)[1].tolist()
    feed.batch(0)
    child = os.fork()
    if not child:
        os._exit(0 if feed.batch(1)[1].tolist() == expected else 1)
    deadline = time.monotonic() + 20
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == (child, 0)


LEFT_OPEN = """
import sys, netc
from netc.runtime.data import open_feed, probe
layer = netc.compile_net(sys.argv[1], "TRAIN", probe=probe).nodes[0].layer
feed = open_feed(layer, 0, 1)
feed.batch(0)
print("torch" in sys.modules, flush=True)
if len(sys.argv) > 2:
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize("how", [[], ["interrupt"]])
def test_a_process_that_forgets_to_close_ends(photos, how):
    text = f"""layer {{ type: "Data" top: "data" top: "label" data_param {{ source: "{photos}" batch_size: 64 }}
        transform_param {{ {RECIPE} }} }}"""
    run = subprocess.run([sys.executable, "-c", LEFT_OPEN, text, *how], capture_output=True, timeout=60, check=False)
    assert run.stdout == b"True\n"
    assert run.returncode in ((0,) if not how else (1, -2, 130))


PROBE = """
import sys, netc, netc.runtime.data
print(netc.runtime.data.probe(netc.read_net(sys.argv[1]).layer[0], 0), "torch" in sys.modules)
"""


def test_probe_needs_no_torch(photos):
    text = f'layer {{ type: "Data" top: "x" data_param {{ source: "{photos}" batch_size: 3 }} }}'
    command = [sys.executable, "-c", PROBE, text]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout == "[(3, 3, 40, 61)] False\n"


# -- other sources -----------------------------------------------------------------------------------------------------


def source_layer(text):
    return netc.compile_net(text, "TRAIN", probe=probe).nodes[0].layer


def test_memory_data_has_no_source_of_its_own():
    layer = source_layer(
        """layer { name: "m" type: "MemoryData" top: "x" top: "y"
        memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 } }"""
    )
    with pytest.raises(NetcError, match="MemoryData has no source") as caught:
        open_feed(layer, 0, 1)
    assert "net(x=…)" in caught.value.hint
    assert not can_probe(layer.param)


@pytest.mark.parametrize("held", [True, False])
def test_hdf5_rows_in_the_order_of_any_shuffled_source(monkeypatch, tmp_path, held):
    """Across files, each epoch another permutation; the same as that of an LMDB of as many records."""
    h5py = pytest.importorskip("h5py")
    monkeypatch.setattr(hdf5_feed, "HELD", 1 << 30 if held else 0)
    monkeypatch.setattr(hdf5_feed, "_fit", hdf5_feed._fit if held else lambda tables: False)
    for name, first, last in (("a.h5", 0, 4), ("b.h5", 4, 11)):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = np.arange(first, last, dtype="f8")[:, None] * [1, 2]
            file.create_dataset("y", data=np.arange(first, last, dtype="i4"), chunks=(2,), compression="gzip")
    (tmp_path / "list").write_text("a.h5\nb.h5\n")
    text = f"""layer {{ name: "h" type: "HDF5Data" top: "x" top: "y"
        hdf5_data_param {{ source: "{tmp_path}/list" batch_size: 3 shuffle: true }} }}"""
    feed = open_feed(source_layer(text), 0, 7)
    seen = [feed.batch(k) for k in range(22)]
    rows = torch.cat([y for _, y in seen]).int().tolist()
    assert torch.cat([x for x, _ in seen]).tolist() == [[row, 2 * row] for row in rows]
    epochs = [rows[start : start + 11] for start in range(0, 66, 11)]
    assert all(sorted(epoch) == list(range(11)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    records = write_lmdb(tmp_path / "db", {b"%02d" % i: raw(np.zeros((1, 1, 1)), i) for i in range(11)})
    pictures = open_feed(data_layer(records, options="batch_size: 3 sampling_param { shuffle: true }"), 0, 7)
    assert torch.cat([pictures.batch(k)[1] for k in range(22)]).int().tolist() == rows
    pictures.close()


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "D504"), (b"missing.h5", "F120"), (b"list.h5", "D530")],
    ids=["empty", "missing", "text"],
)
def test_hdf5_lists(tmp_path, content, code):
    pytest.importorskip("h5py")
    file = tmp_path / "list.h5"
    file.write_bytes(content)
    with pytest.raises(NetcError) as caught:
        source_layer(f'layer {{ type: "HDF5Data" top: "x" hdf5_data_param {{ source: "{file}" batch_size: 1 }} }}')
    assert caught.value.code == code


def test_hdf5_files_that_do_not_fit_each_other(tmp_path):
    h5py = pytest.importorskip("h5py")
    for name, shape in (("a.h5", (4, 2)), ("b.h5", (5, 3))):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = np.zeros(shape)
    (tmp_path / "list").write_text("a.h5\nb.h5\n")
    layer = source_layer(
        f'layer {{ type: "HDF5Data" top: "x" hdf5_data_param {{ source: "{tmp_path}/list" batch_size: 1 }} }}'
    )
    with pytest.raises(NetcError, match=r"b\.h5 has rows of 3, .*a\.h5 of 2"):
        open_feed(layer, 0, 1)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("a.jpg 1\n\ngone.jpg 2\n", "gone.jpg"),
        ("a.jpg 1\n\nlist.txt 2\n", "not a picture"),
    ],
    ids=["missing", "no picture"],
)
def test_image_lists_name_the_line(tmp_path, lines, words):
    (tmp_path / "a.jpg").write_bytes(encoded(photo(12, 10)).data)
    (tmp_path / "list.txt").write_text(lines)
    layer = source_layer(
        f"""layer {{ name: "i" type: "ImageData" top: "x" top: "y"
        image_data_param {{ source: "{tmp_path}/list.txt" batch_size: 2 }} }}"""
    )
    feed = open_feed(layer, 0, 1)
    with pytest.raises(NetcError, match=words) as caught:
        feed.batch(0)
    assert (caught.value.code, caught.value.line) == ("D520", 3)
    feed.close()


def test_a_source_that_is_missing_names_both_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    write_lmdb(tmp_path / "nets/train_lmdb", {b"a": raw(np.zeros((1, 2, 2)))})
    param = netc.read_net('layer { type: "Data" top: "x" data_param { source: "trian_lmdb" batch_size: 1 } }').layer[0]
    with pytest.raises(NetcError) as caught:
        probe(param, 0, str(tmp_path / "nets/net.prototxt"))
    assert caught.value.code == "F120"
    assert f"{tmp_path}/trian_lmdb or {tmp_path}/nets/trian_lmdb" in str(caught.value)
    assert "nets/train_lmdb" in caught.value.hint
    param.data_param.source = "train_lmdb"
    assert probe(param, 0, str(tmp_path / "nets/net.prototxt")) == [(1, 1, 2, 2)]


@pytest.mark.parametrize("shuffle", ["false", "true"])
def test_rand_skip_of_image_data_passes_over_a_random_number_of_lines_once(tmp_path, shuffle):
    for n in range(5):
        (tmp_path / f"{n}.jpg").write_bytes(encoded(photo(12, 10, n)).data)
    (tmp_path / "list.txt").write_text("".join(f"{n}.jpg {n}\n" for n in range(5)))

    def sequence(skip, seed):
        layer = source_layer(
            f"""layer {{ name: "i" type: "ImageData" top: "x" top: "y" image_data_param {{
            source: "{tmp_path}/list.txt" batch_size: 2 rand_skip: {skip} shuffle: {shuffle} }} }}"""
        )
        feed = open_feed(layer, 0, seed)
        found = [label for k in range(8) for label in feed.batch(k)[1].int().tolist()]
        feed.close()
        return found

    skips = set()
    for seed in range(1, 17):
        plain, skipped = sequence(0, seed), sequence(4, seed)
        skips |= {n for n in range(4) if skipped[: 16 - n] == plain[n:]}
    assert skips >= {1, 2, 3}
