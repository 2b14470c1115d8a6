"""The table that models/ is written from: the paper's Table 1, and the same at a quarter of the width."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

WIDTHS = (64, 128, 256, 512, 512)
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

MINI = ("A", "B", "C", "D", "E")
FROM_A = ("B", "C", "D", "E")
"""Configurations that start from some layers of net A."""

TRANSPLANTED = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")
"""Net A's first four convolutions and its three fully-connected layers."""


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution: `conv<stage>_<number>`, stride 1, padded so that the image keeps its size."""

    stage: int
    number: int
    width: int
    kernel: int

    @property
    def label(self) -> str:
        return f"{self.stage}_{self.number}"

    @property
    def pad(self) -> int:
        return self.kernel // 2


@dataclass(frozen=True)
class Config:
    """One net: the configuration's letter, and whether it is the full or the quarter-width net."""

    letter: str
    mini: bool = False

    @property
    def name(self) -> str:
        return f"{'mini_' if self.mini else ''}vgg_{self.letter}"

    @property
    def divisor(self) -> int:
        return 4 if self.mini else 1

    @property
    def crop(self) -> int:
        return 64 if self.mini else 224

    @property
    def classes(self) -> int:
        return 10 if self.mini else 1000

    @property
    def hidden(self) -> int:
        """Width of fc6 and fc7."""
        return 4096 // self.divisor

    @property
    def has_lrn(self) -> bool:
        return self.letter == "A_LRN"

    @property
    def from_a(self) -> bool:
        return self.letter in FROM_A

    @property
    def base(self) -> str:
        """The net whose layers a deeper net starts from."""
        return Config("A", self.mini).name

    @cached_property
    def stages(self) -> list[list[Conv]]:
        depths = DEPTHS[self.letter]
        return [
            [Conv(stage, i, width // self.divisor, self._kernel(stage, i)) for i in range(1, depth + 1)]
            for stage, (depth, width) in enumerate(zip(depths, WIDTHS, strict=True), 1)
        ]

    def _kernel(self, stage: int, number: int) -> int:
        if self.letter == "B_5x5":
            return 5
        return 1 if self.letter == "C" and stage >= 3 and number == 3 else 3

    @property
    def weight_layers(self) -> int:
        return sum(DEPTHS[self.letter]) + 3


CONFIGS = (*(Config(letter) for letter in DEPTHS), *(Config(letter, mini=True) for letter in MINI))
