"""The nets that come with netc, and what the paper's Table 1 says of each."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "models"

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of the convolutions before each of the five poolings."""

DEPTHS = {
    "A": (1, 1, 2, 2, 2),
    "A_LRN": (1, 1, 2, 2, 2),
    "B": (2, 2, 2, 2, 2),
    "C": (2, 2, 3, 3, 3),
    "D": (2, 2, 3, 3, 3),
    "E": (2, 2, 4, 4, 4),
    "B_5x5": (1, 1, 1, 1, 1),
}
"""Configuration → convolutions before each of the five poolings."""

FULL = [f"vgg_{letter}" for letter in DEPTHS]
MINI = [f"mini_vgg_{letter}" for letter in DEPTHS]
NETS = [*FULL, *MINI]

LOCALISING = [f"{base}_{kind}" for base in ("vgg_D", "mini_vgg_D") for kind in ("SCR", "PCR")]
"""Net D with boxes for scores (appendix A), one for all classes or one for each."""

TRANSPLANTED = ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]
"""Net A's first four convolutions and its three fully-connected layers."""


def letter_of(name: str) -> str:
    return name.partition("vgg_")[2]


def divisor_of(name: str) -> int:
    """How much narrower than the paper's net it is."""
    return 4 if name in MINI else 1


def starts_from_a(name: str) -> bool:
    return letter_of(name) in "BCDE"


def scales_of(name: str) -> tuple[int, int, int]:
    """S = 384 and the range [256; 512] of the paper, for crops of 224 pixels or of 64."""
    return (110, 73, 146) if name in MINI else (384, 256, 512)


def variants_of(name: str) -> list[str]:
    """What stands behind `solver_` in the names of the net's other solvers: C, D and E were trained at three scales
    (Table 3); the small net A starts as Glorot's paper says already."""
    scales = [f"S{scales_of(name)[0]}", "jitter", "jitter_fc"] if letter_of(name) in "CDE" else []
    return scales + (["glorot"] if letter_of(name) in "ABCDE" and name != "mini_vgg_A" else [])


def boxed_variants(name: str) -> list[str]:
    """Likewise of a net that localises: two scales, and the fully-connected layers alone (Table 8)."""
    larger = "S128" if name.startswith("mini") else "S384"
    return ["fc", larger, f"{larger}_fc"]


def base_of(name: str) -> str:
    """The net whose layers a deeper net starts from."""
    return "mini_vgg_A" if name in MINI else "vgg_A"


def kernel_of(name: str, stage: int, number: int) -> int:
    """The width of the convolution `conv<stage>_<number>`."""
    if letter_of(name) == "B_5x5":
        return 5
    return 1 if letter_of(name) == "C" and stage >= 3 and number == 3 else 3
