"""README.md of one configuration: what the net is, and the passage of the paper for each number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from netc.check.analyse import Analysis
from tools.models.table import TRANSPLANTED, Config

Row = tuple[str, str, str]

STORY = {
    "A": "The shallowest net; the deeper nets are initialised from it.",
    "A_LRN": "Net A with one local response normalisation after the first convolution. The paper finds that it does "
    "not help and does not use it in the deeper nets (Sect. 4.1).",
    "B": "A second 3×3 convolution in the first two stages.",
    "C": "A third convolution, 1×1, in the last three stages: more non-linearity, the same receptive field. It is "
    "worse than D, so spatial context matters too (Sect. 4.1).",
    "D": "Sixteen weight layers, all convolutions 3×3: the published “VGG-16”.",
    "E": "Nineteen weight layers: the published “VGG-19”, the deepest net of the paper.",
    "B_5x5": "A shallow net that Sect. 4.1 compares with B: each pair of 3×3 convolutions is replaced by one 5×5 with "
    "the same receptive field. Its top-1 error on a centre crop was 7 % higher than B's. It is not in Table 1.",
}


def readme(config: Config, found: Analysis) -> str:
    """The page of one net; `found` is the analysis of the net by netc."""
    return "\n".join([_title(config), _layers(config), _size(config, found), _numbers(config), _use(config)])


def _title(config: Config) -> str:
    scaled = ""
    if config.mini:
        scaled = (
            f"\n\nThe same topology with a quarter of the width, for {config.crop}-pixel crops, {config.classes} "
            "classes and training on a CPU. If a number of the paper is not suitable for such a small task, the table "
            "shows both."
        )
    return f"# {config.name}\n\n{STORY[config.letter]}{scaled}\n"


def _layers(config: Config) -> str:
    rows = []
    for stage, convs in enumerate(config.stages, 1):
        kernels = " ".join(f"{c.kernel}×{c.kernel}" for c in convs)
        names = f"conv{stage}_1" if len(convs) == 1 else f"conv{stage}_1 … conv{stage}_{len(convs)}"
        extra = ", norm1" if stage == 1 and config.has_lrn else ""
        rows.append((names + extra, kernels, str(convs[0].width)))
    rows += [
        ("fc6, fc7", "fully connected, dropout", str(config.hidden)),
        ("fc8", "fully connected", str(config.classes)),
    ]
    return _table(("layers", "kernels", "width"), rows)


def _size(config: Config, found: Analysis) -> str:
    pool5, fc6 = (row.field.size[0] if row.field else 0 for row in (found.row("pool5"), found.row("fc6")))
    return (
        f"{found.params:,} parameters, {found.params_of('Convolution'):,} of them in convolutions; {found.macs:,} "
        f"multiply-adds for an image of {config.crop}×{config.crop}. The receptive field of pool5 is {pool5}×{pool5} "
        f"pixels, that of fc6 {fc6}×{fc6}. `netc check {config.name}` shows these numbers for each layer.\n"
    )


def _numbers(config: Config) -> str:
    rows = chain(_net_rows(config), _data_rows(config), _solver_rows(config), _start_rows(config))
    return "## Where the numbers come from\n\n" + _table(("what", "here", "the paper"), rows)


def _net_rows(config: Config) -> Iterable[Row]:
    yield (
        "input",
        f"{config.crop}×{config.crop}, BGR",
        "“a fixed-size 224×224 RGB image” (2.1); channel order of the published nets",
    )
    yield (
        "`mean_value`",
        "103.939, 116.779, 123.68",
        "“The only preprocessing we do is subtracting the mean RGB value” (2.1); values of the published nets",
    )
    if config.letter == "B_5x5":
        yield (
            "convolutions",
            "5×5, stride 1, pad 2",
            "“replacing each pair of 3×3 conv. layers with a single 5×5” (4.1)",
        )
    else:
        yield (
            "convolutions",
            "3×3, stride 1, pad 1" + ("; 1×1 without pad" if config.letter == "C" else ""),
            "“the padding is 1 pixel for 3×3 conv. layers”, so that the size is kept (2.1)",
        )
    yield "ReLU", "after every hidden layer", "“All hidden layers are equipped with the rectification” (2.1)"
    yield "pooling", "MAX 2×2, stride 2", "“over a 2×2 pixel window, with stride 2” (2.1)"
    if config.has_lrn:
        yield (
            "`lrn_param`",
            "local_size 5, alpha 5e-4, beta 0.75, k 2",
            "“the parameters for the LRN layer are those of (Krizhevsky et al., 2012)” (2.1): n = 5, alpha = 1e-4, "
            "beta = 0.75, k = 2. Caffe divides alpha by local_size. AlexNet in Caffe has alpha 1e-4 and k 1: a "
            "different formula",
        )
    yield (
        "fc6, fc7",
        str(config.hidden),
        "“the first two have 4096 channels each” (2.1)" + (", / 4" if config.mini else ""),
    )
    yield "fc8", str(config.classes), "1000, “one for each class” (2.1)" + ("; here 10 classes" if config.mini else "")
    yield (
        "dropout",
        "0.5 after fc6 and fc7",
        "“dropout regularisation for the first two fully-connected layers (dropout ratio set to 0.5)” (3.1)",
    )


def _data_rows(config: Config) -> Iterable[Row]:
    yield (
        "crop",
        f"{config.crop}, random position",
        "“randomly cropped from rescaled training images (one crop per image per SGD iteration)” (3.1)",
    )
    yield "`mirror`", "in training", "“random horizontal flipping” (3.1)"
    yield (
        "`color_shift_param`",
        "std 0.1",
        "“random RGB colour shift” after Krizhevsky et al. (3.1); each component is added, multiplied by 0.1 times a "
        "normal random number times the square root of its eigenvalue",
    )
    if config.mini:
        yield "S", "72 to 96", "jitter from [256; 512] (3.1), here adapted to the crop of 64"
        yield "Q", "80", "not given for validation; the middle of the range of S, as in Table 3"
    else:
        yield "S", "256", "“S = 256 … and S = 384”, or “randomly sampling S from a certain range”, [256; 512] (3.1)"
        yield "Q", "256, centre crop", "not given for the validation that controls the learning rate; Q = S (4.1)"
    yield "order", "a new random order each epoch", "not given"


def _solver_rows(config: Config) -> Iterable[Row]:
    yield "batch", "64" if config.mini else "256", "“The batch size was set to 256” (3.1)"
    yield "`momentum`", "0.9", "“momentum to 0.9” (3.1)"
    yield (
        "`weight_decay`",
        "5e-4, not on biases",
        "“the L₂ penalty multiplier set to 5 · 10⁻⁴” (3.1); biases are not mentioned, Caffe's nets do not decay them",
    )
    yield "`base_lr`", "0.01", "“initially set to 10⁻²” (3.1)"
    yield (
        "`lr_policy`",
        "plateau, gamma 0.1, 3 drops",
        "“decreased by a factor of 10 when the validation set accuracy stopped improving … decreased 3 times” (3.1)",
    )
    yield "`patience`", f"{10 if config.mini else 5} tests", "not given"
    if config.mini:
        yield "`max_iter`", "3000", "370,000 iterations, 74 epochs (3.1)"
    else:
        yield "`max_iter`", "370000", "“the learning was stopped after 370K iterations (74 epochs)” (3.1)"
        yield "`test_interval`", "5000", "not given; an epoch"


def _start_rows(config: Config) -> Iterable[Row]:
    if config.mini:
        yield (
            "`weight_filler`",
            "xavier, AVERAGE",
            "“possible to initialise the weights without pre-training by using the random initialisation procedure of "
            "Glorot & Bengio” (3.1)",
        )
    else:
        yield (
            "`weight_filler`",
            "gaussian, std 0.01",
            "“normal distribution with the zero mean and 10⁻² variance” (3.1). Taken literally, that is std 0.1: net A "
            "then starts with scores of 10⁸ (a loss of 87.3, the largest that Caffe can report) and cannot be trained. "
            "With std 0.01 it starts at 6.908, ln 1000",
        )
    yield "`bias_filler`", "0", "“The biases were initialised with zero” (3.1)"
    if config.from_a:
        yield (
            "`transplant_param`",
            ", ".join(TRANSPLANTED),
            f"“the first four convolutional layers and the last three fully-connected layers with the layers of net A” "
            f"(3.1). This cannot mean copying by position (the second convolution of A has twice the width), so each "
            f"layer gets the weights of the same layer of {config.base}; their learning rate is not reduced",
        )


def _use(config: Config) -> str:
    parts = ["## Use\n", _train_lines(config), "" if config.mini else _variants(config)]
    return "\n".join(part for part in parts if part)


def _train_lines(config: Config) -> str:
    train, val = ("train_lmdb", "val_lmdb") if config.mini else ("ilsvrc12_train_lmdb", "ilsvrc12_val_lmdb")
    first = ""
    if config.from_a:
        first = (
            f"Train {config.base} first, in the same working directory: the solver uses the weights of its newest "
            f"snapshot.\n\n"
        )
    return (
        f"{first}The databases `{train}` and `{val}` are searched for in the working directory, then in the folder of "
        f"the net.\n\n"
        f"```\nnetc check {config.name}\nnetc train {config.name}\n"
        f"netc test --model {config.name} --weights {config.name}_iter_….caffemodel\n```\n"
    )


def _variants(config: Config) -> str:
    fillers = 's/type: "gaussian" std: 0.01/type: "xavier" variance_norm: AVERAGE/'
    glorot = f"sed '{fillers}' train_val.prototxt > glorot.prototxt"
    drop = " and remove `transplant_param` from the solver" if config.from_a else ""
    larger = ""
    if config.letter in ("C", "D", "E"):
        larger = (
            "* S = 384: `rescale_param { short_side: 384 }` in both data layers, `base_lr: 0.001`, and "
            f"`--weights {config.name}_iter_….caffemodel` of the S = 256 net (3.1) instead of the transplant.\n"
            "* S from [256; 512]: `rescale_param { min_short_side: 256 max_short_side: 512 }` for TRAIN and "
            "`short_side: 384` for TEST, initialised from all layers of the S = 384 net (3.1).\n"
        )
    return (
        f"Variants, to be made in a copy of the files:\n\n{larger}"
        f"* Glorot and Bengio's random initialisation, without pre-training (3.1): `{glorot}`{drop}. Caffe's plain "
        f"`xavier` is a different rule: it uses only the number of inputs.\n"
        f"* Less memory: `batch_size: 64` in the net and `iter_size: 4` in the solver give the same effective batch of "
        f"256.\n"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
