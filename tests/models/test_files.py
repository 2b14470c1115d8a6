"""The three prototxts of each shipped net: Table 1 layer by layer, the same recipe everywhere."""

from __future__ import annotations

import pytest

import netc
from tests.models.nets import (
    DEPTHS,
    FOLDER,
    LOCALISING,
    MINI,
    NETS,
    TRANSPLANTED,
    WIDTHS,
    base_of,
    boxed_variants,
    divisor_of,
    kernel_of,
    letter_of,
    starts_from_a,
    variants_of,
)

FILES = ["deploy.prototxt", "schedule.prototxt", "solver.prototxt", "train_val.prototxt"]


def net(name, file="train_val"):
    return netc.read_net(f"models/{name}/{file}.prototxt")


def trunk(param):
    """The layers from the image to the class scores."""
    names = [layer.name for layer in param.layer]
    return list(param.layer)[names.index("conv1_1") : names.index("fc8") + 1]


def test_the_folders():
    folders = {
        path.parent.name: sorted(file.name for file in path.parent.iterdir())
        for path in FOLDER.glob("*/*.prototxt")
        if path.parent.name != "paper"
    }
    more = {name: [f"solver_{variant}.prototxt" for variant in variants_of(name)] for name in NETS}
    more |= {name: [f"solver_{variant}.prototxt" for variant in boxed_variants(name)] for name in LOCALISING}
    assert folders == {name: sorted(FILES + more[name]) for name in [*NETS, *LOCALISING]}


# -- layers ------------------------------------------------------------------------------------------------------------


def table_1(name):
    """(layer, type, bottom, top, settings) of every layer from the image to the class scores."""
    rows, blob = [], "data"
    for stage, (depth, width) in enumerate(zip(DEPTHS[letter_of(name)], WIDTHS), 1):
        for number in range(1, depth + 1):
            kernel = kernel_of(name, stage, number)
            pad = [kernel // 2] if kernel > 1 else []
            conv = f"conv{stage}_{number}"
            rows.append((conv, "Convolution", blob, conv, (width // divisor_of(name), [kernel], pad, [])))
            rows.append((f"relu{stage}_{number}", "ReLU", conv, conv, ()))
            blob = conv
        if letter_of(name) == "A_LRN" and stage == 1:
            rows.append(("norm1", "LRN", blob, "norm1", pytest.approx((5, 5e-4, 0.75, 2))))
            blob = "norm1"
        rows.append((f"pool{stage}", "Pooling", blob, f"pool{stage}", (0, 2, 2, 0)))
        blob = f"pool{stage}"
    hidden = 4096 // divisor_of(name)
    for number in (6, 7):
        fc = f"fc{number}"
        rows.append((fc, "InnerProduct", blob, fc, hidden))
        rows.append((f"relu{number}", "ReLU", fc, fc, ()))
        rows.append((f"drop{number}", "Dropout", fc, fc, 0.5))
        blob = fc
    rows.append(("fc8", "InnerProduct", blob, "fc8", 10 if name in MINI else 1000))
    return rows


def settings(layer):
    match layer.type:
        case "Convolution":
            conv = layer.convolution_param
            return conv.num_output, list(conv.kernel_size), list(conv.pad), list(conv.stride)
        case "InnerProduct":
            return layer.inner_product_param.num_output
        case "Pooling":
            pool = layer.pooling_param
            return pool.pool, pool.kernel_size, pool.stride, pool.pad
        case "LRN":
            lrn = layer.lrn_param
            return lrn.local_size, lrn.alpha, lrn.beta, lrn.k
        case "Dropout":
            return layer.dropout_param.dropout_ratio
    return ()


@pytest.mark.parametrize("name", NETS)
def test_layers_follow_table_1(name):
    layers = trunk(net(name, "deploy"))
    assert [(one.name, one.type, *one.bottom, *one.top, settings(one)) for one in layers] == table_1(name)


@pytest.mark.parametrize("name", NETS)
def test_deploy_is_train_val_without_what_training_needs(name):
    trained = net(name)
    for layer in trunk(trained):
        layer.ClearField("param")
        for options in (layer.convolution_param, layer.inner_product_param):
            options.ClearField("weight_filler")
            options.ClearField("bias_filler")
        if layer.type != "Convolution":
            layer.ClearField("convolution_param")
        if layer.type != "InnerProduct":
            layer.ClearField("inner_product_param")
    assert trunk(trained) == trunk(net(name, "deploy"))


@pytest.mark.parametrize("name", NETS)
def test_ends(name):
    side = 64 if name in MINI else 224
    first, last = net(name, "deploy").layer[0], net(name, "deploy").layer[-1]
    assert (first.type, [list(shape.dim) for shape in first.input_param.shape]) == ("Input", [[1, 3, side, side]])
    assert (last.name, last.type, *last.bottom, *last.top) == ("prob", "Softmax", "fc8", "prob")
    loss, top1, top5 = list(net(name).layer)[-3:]
    assert [layer.type for layer in (loss, top1, top5)] == ["SoftmaxWithLoss", "Accuracy", "Accuracy"]
    assert all(list(layer.bottom) == ["fc8", "label"] for layer in (loss, top1, top5))
    assert [layer.accuracy_param.top_k for layer in (top1, top5)] == [1, 5]


# -- data --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_the_data_are_those_of_net_a(name):
    assert list(net(name).layer)[:2] == list(net(base_of(name)).layer)[:2]


@pytest.mark.parametrize(
    "name, source, crop, batch, s, q",
    [("vgg_A", "ilsvrc12_{}_lmdb", 224, 256, (256, 0, 0), 256), ("mini_vgg_A", "{}_lmdb", 64, 64, (0, 72, 96), 80)],
)
def test_data(name, source, crop, batch, s, q):
    train, val = list(net(name).layer)[:2]
    assert [train.data_param.source, val.data_param.source] == [source.format("train"), source.format("val")]
    assert (train.data_param.batch_size, train.data_param.sampling_param.shuffle) == (batch, True)
    rescale = train.transform_param.rescale_param
    assert (rescale.short_side, rescale.min_short_side, rescale.max_short_side) == s
    assert (val.transform_param.rescale_param.short_side, val.transform_param.mirror) == (q, False)
    for transform in (train.transform_param, val.transform_param):
        assert transform.crop_size == crop
        assert list(transform.mean_value) == pytest.approx([103.939, 116.779, 123.68])
    assert train.transform_param.mirror
    shift = train.transform_param.color_shift_param
    assert shift.std == pytest.approx(0.1)
    assert list(shift.eigenvalue) == [14143, 1222, 293]
    assert not val.transform_param.HasField("color_shift_param")


# -- starting values and training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_weights_decay_and_biases_do_not(name):
    weighted = [layer for layer in trunk(net(name)) if layer.type in ("Convolution", "InnerProduct")]
    assert len(weighted) == sum(DEPTHS[letter_of(name)]) + 3
    for layer in weighted:
        assert [(param.lr_mult, param.decay_mult) for param in layer.param] == [(1, 1), (1, 0)]


@pytest.mark.parametrize("name", NETS)
def test_fillers(name):
    for layer in trunk(net(name)):
        if layer.type not in ("Convolution", "InnerProduct"):
            continue
        options = layer.convolution_param if layer.type == "Convolution" else layer.inner_product_param
        weight, bias = options.weight_filler, options.bias_filler
        if name in MINI:
            assert (weight.type, weight.variance_norm) == ("xavier", 2)  # AVERAGE
        else:
            assert (weight.type, weight.std) == ("gaussian", pytest.approx(0.01))
        assert (bias.type, bias.value) == ("constant", 0)


@pytest.mark.parametrize("name", NETS)
def test_the_schedule_is_that_of_net_a(name):
    solver, base = (netc.read_solver(f"models/{one}/solver.prototxt") for one in (name, base_of(name)))
    assert solver.snapshot_prefix == name
    solver.ClearField("transplant_param")
    solver.snapshot_prefix = base.snapshot_prefix
    assert solver == base


@pytest.mark.parametrize(
    "name, iterations, interval, patience", [("vgg_A", 370_000, 5000, 5), ("mini_vgg_A", 3000, 50, 10)]
)
def test_schedule(name, iterations, interval, patience):
    solver = netc.read_solver(f"models/{name}/solver.prototxt")
    plateau = solver.plateau_param
    assert (solver.type, solver.lr_policy, plateau.output) == ("SGD", "plateau", "accuracy")
    assert (solver.max_iter, solver.test_interval, plateau.patience) == (iterations, interval, patience)
    assert plateau.max_drops == 3
    recipe = [solver.base_lr, solver.gamma, solver.momentum, solver.weight_decay]
    assert recipe == pytest.approx([0.01, 0.1, 0.9, 5e-4])


@pytest.mark.parametrize("name", NETS)
def test_deeper_nets_start_from_net_a(name):
    """The layers of the paper's sentence: all convolutions of A's first three stages, and no other way to read it."""
    plans = netc.read_solver(f"models/{name}/solver.prototxt").transplant_param
    assert len(plans) == starts_from_a(name)
    for plan in plans:
        assert plan.weights == f"{base_of(name)}_iter_*.caffemodel"
        assert [copy.layer for copy in plan.copy] == TRANSPLANTED
