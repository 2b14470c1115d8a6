"""Plans: what goes where, what does not fit, and the transplant of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from netc import weights
from netc.errors import NetcError, NetcErrors
from netc.weights import Weights


def array(*shape, start=0.0):
    return (np.arange(np.prod(shape, dtype=int)) + start).astype("<f4").reshape(shape)


TARGET = {
    "conv1": [("weight", (4, 3, 5, 5)), ("bias", (4,))],
    "fc6": [("weight", (6, 2, 3, 7)), ("bias", (6,))],
    "fc8": [("weight", (9, 6))],
}


def test_by_name():
    source = Weights({"conv1": [array(4, 3, 5, 5), array(4)], "gone": [array(2)], "relu": []}, "a.caffemodel")
    plan = weights.plan(TARGET, source)
    assert (plan.copied, plan.reshaped) == (["conv1"], [])
    assert list(plan.fresh) == ["fc6", "fc8"]
    assert plan.unused == {"gone": 1}
    assert str(plan).splitlines() == [
        "Weights from a.caffemodel: layers 1 copied, 0 reshaped, 2 fresh, 1 unused",
        "  conv1                    copied    weight 4×3×5×5, bias 4",
        "  fc6                      fresh     weight 6×2×3×7, bias 6",
        "  fc8                      fresh     weight 9×6",
        "  gone                     unused    1 blob of the file",
    ]


def test_old_style_axes_fit_as_in_caffe():
    old = Weights({"fc8": [array(1, 1, 9, 6)]}, legacy=[("fc8", 0)])
    plan = weights.plan(TARGET, old)
    assert plan.copied == ["fc8"]
    assert plan.copies[0].array.shape == (9, 6)
    with pytest.raises(NetcError) as caught:
        weights.plan(TARGET, Weights({"fc8": [array(1, 1, 9, 6)]}))
    assert caught.value.code == "W721"


def test_every_layer_that_does_not_fit_is_reported():
    source = Weights({"conv1": [array(4, 3, 5, 5)], "fc6": [array(6, 42), array(6)], "fc8": [array(6, 9)]}, "b")
    with pytest.raises(NetcErrors) as caught:
        weights.plan(TARGET, source)
    count, flat, transposed = caught.value.errors
    assert (count.code, flat.code, transposed.code) == ("W720", "W721", "W721")
    assert count.message == 'layer "conv1" has 2 blobs (weight 4×3×5×5, bias 4), the file has 1 for "conv1"'
    assert flat.message == 'layer "fc6", weight: the net needs 6×2×3×7, the file has 6×42'
    assert "transplant_param" in flat.hint
    assert "transpose: true" in transposed.hint


def test_transplant_copies_the_named_layers_only_and_reshapes():
    source = Weights(
        {"conv1": [array(4, 3, 5, 5), array(4)], "old6": [array(6, 42, start=3), array(6)], "fc8": [array(9, 6)]}, "A"
    )
    plan = weights.transplant([("conv1", "conv1"), ("fc6", "old6")], source, TARGET)
    assert (plan.copied, plan.reshaped) == (["conv1"], ["fc6"])
    assert list(plan.fresh) == ["fc8"]
    assert plan.unused == {"fc8": 1}
    (weight,) = [copy.array for copy in plan.copies if (copy.layer, copy.index) == ("fc6", 0)]
    assert np.array_equal(weight, array(6, 42, start=3).reshape(6, 2, 3, 7))
    assert "fc6                      reshaped  weight 6×42 → 6×2×3×7, bias 6 from old6" in str(plan)


def test_transplant_reshapes_old_style_axes_but_never_mixes_rows():
    plan = weights.transplant([("fc6", "fc6")], {"fc6": [array(1, 1, 6, 42), array(1, 1, 1, 6)]}, TARGET)
    assert plan.reshaped == ["fc6"]
    with pytest.raises(NetcError) as caught:
        weights.transplant([("fc6", "fc6")], {"fc6": [array(42, 6), array(6)]}, TARGET)
    assert caught.value.code == "W721"


def test_transplant_of_unknown_layers():
    source = Weights({"conv1": [array(4, 3, 5, 5), array(4)]}, "A")
    for copies, code in (([("conv_1", "conv1")], "W722"), ([("conv1", "conv_1")], "W723")):
        with pytest.raises(NetcError, match="did you mean") as caught:
            weights.transplant(copies, source, TARGET)
        assert caught.value.code == code


def test_tensors_are_filled_or_left_untouched():
    torch = pytest.importorskip("torch")
    params = {"a": [torch.zeros(2, 3), torch.zeros(2)], "b": [torch.zeros(4)]}
    source = {"a": [array(2, 3, start=1), array(2, start=7)], "b": [array(5)]}
    with pytest.raises(NetcError):
        weights.copy_weights(params, source)
    assert not params["a"][0].any()
    weights.copy_weights(params, {"a": source["a"]})
    assert params["a"][0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert params["a"][1].tolist() == [7, 8]
    half = {"a": [torch.zeros(3, 2, dtype=torch.float16).T, torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))]}
    weights.copy_weights(half, {"a": [source["a"][0].astype("f8"), source["a"][1]]})
    assert half["a"][0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert half["a"][1].tolist() == [7, 8]


def test_blobs_for_a_layer_that_has_none_are_refused():
    """A file with a PReLU where the net has a ReLU: Caffe stops, for the result would be another net's."""
    torch = pytest.importorskip("torch")
    params = {"fc": [torch.zeros(2)]}
    weights.copy_weights(params, {"fc": [array(2)], "relu": []}, ["data", "relu", "fc"])
    with pytest.raises(NetcError) as caught:
        weights.copy_weights(params, {"fc": [array(2)], "relu": [array(3)]}, ["data", "relu", "fc"])
    assert caught.value.code == "W720"
    assert caught.value.message == 'layer "relu" has 0 blobs (none), the file has 1 for "relu"'


def test_hdf5_may_lack_a_blob_that_another_layer_owns(tmp_path):
    pytest.importorskip("h5py")
    torch = pytest.importorskip("torch")
    from netc.weights.formats.hdf5 import hdf5_image

    shared = array(2, 3)
    image = hdf5_image({"a": [shared, array(2, start=5)], "b": [shared, array(2, start=8)], "relu": []})
    (path := tmp_path / "w.caffemodel.h5").write_bytes(image)
    found = weights.read(path)
    assert found.absent == {("b", 0)}
    assert found["relu"] == []
    weight = torch.zeros(2, 3)
    params = {"a": [weight, torch.zeros(2)], "b": [weight, torch.zeros(2)]}
    weights.copy_weights(params, path)
    assert params["b"][0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert params["b"][1].tolist() == [8, 9]
    params["b"][0] = torch.zeros(2, 3)
    with pytest.raises(NetcError) as caught:
        weights.copy_weights(params, path)
    assert caught.value.code == "W720"


def test_safetensors_of_a_state_dict(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "w.safetensors"
    save_file({"conv1.bias": array(4), "conv1.weight": array(4, 3, 5, 5), "bn.2": array(1), "bn.0": array(3)}, path)
    with pytest.raises(NetcError) as caught:
        weights.read(path)
    assert caught.value.code == "W706"
    save_file({"conv1.bias": array(4), "conv1.weight": array(4, 3, 5, 5)}, path)
    assert [a.shape for a in weights.read(path)["conv1"]] == [(4, 3, 5, 5), (4,)]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(NetcError) as caught:
        weights.read(path)
    assert caught.value.code == "W702"
    save_file({"weight": array(4)}, path)
    with pytest.raises(NetcError) as caught:
        weights.read(path)
    assert caught.value.code == "W706"
