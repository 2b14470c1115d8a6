"""train_val.prototxt and deploy.prototxt of one configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import indent

from tools.models.table import Config, Conv

PAPER = 'Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015)'


def train_val(config: Config) -> str:
    """The net as it is trained and tested."""
    body = [_data(config, "TRAIN"), _data(config, "TEST"), *_trunk(config, learns=True), *_ends()]
    return f'{_head(config, "")}name: "{config.name}"\n\n' + "\n".join(body)


def deploy(config: Config) -> str:
    """The net as it is used: one image in, class probabilities out."""
    note = (
        "# One image in (blue, green, red; 0..255 minus the mean 103.939, 116.779, 123.68), class probabilities out.\n"
    )
    side = config.crop
    data = _layer(
        "data", "Input", (), ("data",), f"input_param {{ shape {{ dim: 1 dim: 3 dim: {side} dim: {side} }} }}"
    )
    prob = _layer("prob", "Softmax", ("fc8",), ("prob",))
    return f'{_head(config, note)}name: "{config.name}"\n\n' + "\n".join([data, *_trunk(config, learns=False), prob])


def _head(config: Config, note: str) -> str:
    letter = config.letter.replace("_", "-")
    if config.letter == "B_5x5":
        what = (
            "# The shallow net of Sect. 4.1: configuration B with each pair of 3x3 convolutions replaced by one 5x5.\n"
        )
    elif config.mini:
        what = f"# Configuration {letter} at a quarter of the width: 64-pixel crops, {config.classes} classes, a CPU.\n"
    else:
        what = f"# Configuration {letter}, {config.weight_layers} weight layers (Table 1).\n"
    return f"# {PAPER}.\n{what}{note}# models/README.md of netc says where each number comes from.\n"


# -- data --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """What differs between the data of the full nets and of the small ones."""

    train: str
    val: str
    rescale: str
    rescale_note: str
    test_short_side: int
    batch: int
    test_batch: int


FULL = Source(
    "ilsvrc12_train_lmdb",
    "ilsvrc12_val_lmdb",
    "rescale_param { short_side: 256 }",
    """\
# S, the shorter side of the image the crop is taken from. The paper's other two settings:
#   rescale_param { short_side: 384 }
#   rescale_param { min_short_side: 256 max_short_side: 512 }  # drawn anew for each image
""",
    256,
    256,
    50,
)
SMALL = Source(
    "train_lmdb",
    "val_lmdb",
    "rescale_param { min_short_side: 72 max_short_side: 96 }",
    "# S, the shorter side of the image the crop is taken from, drawn anew for each image.\n",
    80,
    64,
    50,
)

COLOR_SHIFT = """\
# Principal components of ImageNet's pixels, blue green red; `netc image-mean` finds those of other data.
color_shift_param {
  std: 0.1
  eigenvalue: [14143, 1222, 293]
  eigenvector: [-0.5836, -0.5808, -0.5675]
  eigenvector: [-0.6948, -0.0045, 0.7192]
  eigenvector: [0.4203, -0.8140, 0.4009]
}
"""
MEAN = "mean_value: [103.939, 116.779, 123.68]  # blue, green, red\n"


def _data(config: Config, phase: str) -> str:
    source = SMALL if config.mini else FULL
    body = f"include {{ phase: {phase} }}\n"
    body += _train_data(source, config.crop) if phase == "TRAIN" else _test_data(source, config.crop)
    return _layer("data", "Data", (), ("data", "label"), body.rstrip())


def _train_data(source: Source, crop: int) -> str:
    transform = (
        f"{source.rescale_note}{source.rescale}\n"
        f"crop_size: {crop}  # at a random place\n"
        "mirror: true  # every second image\n"
        f"{COLOR_SHIFT}{MEAN}"
    )
    data = (
        f'source: "{source.train}"\n'
        "backend: LMDB\n"
        f"batch_size: {source.batch}  # in all, however many processes share it\n"
        "sampling_param { shuffle: true }\n"
    )
    return _block("transform_param", transform) + _block("data_param", data)


def _test_data(source: Source, crop: int) -> str:
    transform = (
        f"rescale_param {{ short_side: {source.test_short_side} }}  # Q\ncrop_size: {crop}  # from the centre\n{MEAN}"
    )
    data = f'source: "{source.val}"\nbackend: LMDB\nbatch_size: {source.test_batch}\n'
    return _block("transform_param", transform) + _block("data_param", data)


# -- layers ------------------------------------------------------------------------------------------------------------


def _trunk(config: Config, learns: bool) -> Iterator[str]:
    """From the image to the class scores."""
    blob = "data"
    for stage, convs in enumerate(config.stages, 1):
        for conv in convs:
            yield _convolution(config, conv, blob, learns)
            blob = f"conv{conv.label}"
            yield _layer(f"relu{conv.label}", "ReLU", (blob,), (blob,))
        if stage == 1 and config.has_lrn:
            yield _lrn(blob)
            blob = "norm1"
        pool = f"pool{stage}"
        yield _layer(pool, "Pooling", (blob,), (pool,), "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
        blob = pool
    for number in (6, 7):
        yield _fully_connected(config, f"fc{number}", blob, config.hidden, learns)
        blob = f"fc{number}"
        yield _layer(f"relu{number}", "ReLU", (blob,), (blob,))
        yield _layer(f"drop{number}", "Dropout", (blob,), (blob,), "dropout_param { dropout_ratio: 0.5 }")
    yield _fully_connected(config, "fc8", blob, config.classes, learns)


def _convolution(config: Config, conv: Conv, bottom: str, learns: bool) -> str:
    pad = f"pad: {conv.pad} " if conv.pad else ""
    shape = f"num_output: {conv.width} {pad}kernel_size: {conv.kernel}"
    name = f"conv{conv.label}"
    return _weighted(config, name, "Convolution", bottom, "convolution_param", shape, learns)


def _fully_connected(config: Config, name: str, bottom: str, width: int, learns: bool) -> str:
    return _weighted(config, name, "InnerProduct", bottom, "inner_product_param", f"num_output: {width}", learns)


def _weighted(config: Config, name: str, kind: str, bottom: str, field: str, shape: str, learns: bool) -> str:
    if not learns:
        return _layer(name, kind, (bottom,), (name,), f"{field} {{ {shape} }}")
    body = "param { lr_mult: 1 decay_mult: 1 }\nparam { lr_mult: 1 decay_mult: 0 }\n"
    first = name == "conv1_1"
    body += _block(field, f'{shape}\n{_filler(config, first)}\nbias_filler {{ type: "constant" value: 0 }}\n')
    return _layer(name, kind, (bottom,), (name,), body.rstrip())


def _filler(config: Config, explained: bool) -> str:
    if config.mini:
        note = "# Glorot and Bengio's; plain xavier is not (it counts the inputs alone).\n"
        filler = 'weight_filler { type: "xavier" variance_norm: AVERAGE }'
    else:
        note = "# In the paper's words, a variance of 0.01, it would be std: 0.1, and not train (models/README.md).\n"
        filler = 'weight_filler { type: "gaussian" std: 0.01 }'
    return (note if explained else "") + filler


def _lrn(bottom: str) -> str:
    body = (
        "# Krizhevsky's k = 2, n = 5, alpha = 1e-4, beta = 0.75: Caffe divides alpha by n, so n * 1e-4 stands here.\n"
        "lrn_param { local_size: 5 alpha: 5e-4 beta: 0.75 k: 2 }"
    )
    return _layer("norm1", "LRN", (bottom,), ("norm1",), body)


def _ends() -> Iterator[str]:
    yield _layer("loss", "SoftmaxWithLoss", ("fc8", "label"), ("loss",))
    yield _layer("accuracy", "Accuracy", ("fc8", "label"), ("accuracy",), "include { phase: TEST }")
    top5 = "include { phase: TEST }\naccuracy_param { top_k: 5 }"
    yield _layer("accuracy_top5", "Accuracy", ("fc8", "label"), ("accuracy_top5",), top5)


def _layer(name: str, kind: str, bottoms: tuple[str, ...], tops: tuple[str, ...], body: str = "") -> str:
    lines = [f'name: "{name}"', f'type: "{kind}"']
    lines += [f'bottom: "{blob}"' for blob in bottoms]
    lines += [f'top: "{blob}"' for blob in tops]
    if not body:
        return f"layer {{ {' '.join(lines)} }}\n"
    return _block("layer", "\n".join([*lines, body]))


def _block(name: str, body: str) -> str:
    return f"{name} {{\n{indent(body.rstrip(), '  ')}\n}}\n"
