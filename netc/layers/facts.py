"""What others ask of a layer type: remarks, pictures, comparisons, weight files and feeds know no type by its name.

Each fact is a class attribute with an answer for types that declare nothing, so a plug-in's type is treated like any
other; the few that depend on the settings are methods, or attributes that `setup` sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from netc.layers.affine import Affine
from netc.layers.blob import ParamBlob, Shape
from netc.layers.fillers import weighted_rms

SAMPLES, LABELS, SUM = "samples", "labels", "sum"
"""A mean over the samples of the batch, or over the labels in bottom 1 that are not `ignore`; or no mean but a sum."""


class Facts:
    """The answers of a type that says nothing of itself."""

    type: ClassVar[str]
    param_field: ClassVar[str | None]
    blobs: list[ParamBlob]
    no_gradient: ClassVar[tuple[int, ...] | None]

    # -- where the data come from --------------------------------------------------------------------------------------

    is_source: ClassVar[bool] = False
    """Its tops come from outside (Input, Data, …): `forward` is never called, the machine feeds it."""

    is_input: ClassVar[bool] = False
    """A source whose tops are the net's inputs, with the shapes that its settings give (Input)."""

    feed: ClassVar[str] = ""
    """What feeds a source, one of the constants in netc.layers.sources; "" where its tops are given in the call."""

    moved: ClassVar[tuple[str, ...]] = ()
    """Fields of its settings that Caffe no longer reads there, but in transform_param."""

    to_shuffle: ClassVar[str] = "shuffle: true"
    """What to add to its settings for records in random order."""

    def shuffles(self) -> bool:
        """Whether a source takes its records in random order."""
        return False

    def constant_tops(self) -> Sequence[str]:
        """The tops of a source whose values are the same in every batch."""
        return ()

    output_file: str = ""
    """The file that it adds the rows of each pass to, as its settings name it (HDF5Output); "" for none."""

    def brings_data(self) -> bool:
        """Whether its tops come from outside, fed or made by code of the user's own."""
        return self.is_source

    # -- losses and labels ---------------------------------------------------------------------------------------------

    takes: ClassVar[str] = ""
    """What bottom 0 of a loss holds: "scores" (of any size), "probabilities", or "" for anything else."""

    contains: ClassVar[str] = ""
    """The type that a loss applies to bottom 0 itself (SoftmaxWithLoss: "Softmax")."""

    class_axis: int | None = None
    """The axis of bottom 0 with the classes that the labels in bottom 1 number; None where bottom 1 has no labels."""

    ignore: int | None = None
    """The label that does not count; None where all do."""

    is_measure: ClassVar[bool] = False
    """Only tells how well its bottoms agree with labels: a net that is put to use does without it (Accuracy)."""

    def class_count(self, bottoms: Sequence[Shape]) -> int | None:
        """How many classes the labels in bottom 1 choose from; None where there are no labels."""
        if self.class_axis is None or len(bottoms) < 2 or self.class_axis >= len(bottoms[0]):
            return None
        return bottoms[0][self.class_axis]

    def whole_numbers(self, bottoms: Sequence[Shape]) -> Mapping[int, Sequence[int]]:
        """The bottoms that it reads as whole numbers from 0 (labels, indices, marks) → how many of these there are: one
        count for all values, or one for each value of a row (the five of a region)."""
        classes = self.class_count(bottoms)
        if classes is not None:
            return {1: (classes,)}
        return {place % len(bottoms): (2,) for place in self.no_gradient or () if place < len(bottoms)}

    # -- parts of a batch ----------------------------------------------------------------------------------------------

    mean_over: str = SAMPLES
    """What a scalar top is the mean of, so that it can be told from those of the parts of a batch."""

    carries_state: bool = False
    """What a pass leaves behind is where the next one begins (recurrent layers)."""

    mixes_rows: bool = False
    """A row of a top along axis 0 depends on other rows of the bottoms, or on their number or order (recurrent layers,
    whose axis 0 is time; Softmax along axis 0)."""

    keeps_means: bool = False
    """Its top for a mean of bottoms is the mean of its tops for each of them (Power without a power)."""

    keeps_sums: bool = False
    """The same for a sum (Power of scale alone)."""

    keeps_own: ClassVar[bool] = False
    """Code runs in it that may keep values between passes where nobody sees them (Python)."""

    def running(self) -> Mapping[int, float]:
        """The parameters that a TRAIN pass itself updates, and does not read, by position: which share of them is kept
        when what the batch gives is added (BatchNorm's sums)."""
        return {}

    # -- values and gradients ------------------------------------------------------------------------------------------

    linear: ClassVar[bool] = False
    """Each value of a top is the sum of a row of the first parameter times values of the bottom (InnerProduct)."""

    multiplies: ClassVar[bool] = False
    """All its work is products of bottoms and parameters, which a GPU or CPU may be asked to compute in less precision;
    it takes bottoms and parameters in any layout of memory (Convolution, InnerProduct)."""

    def takes_any_form(self) -> bool:
        """Whether `forward` takes bottoms of bfloat16, and in any layout of memory, as well as float32 in order, and
        loses nothing by it: values are moved or compared, or multiplied one by one (ReLU, MAX pooling)."""
        return self.multiplies

    transposed: ClassVar[bool] = False
    """`window` tells what one value of the bottom is spread over, and not what one of the top reads (Deconvolution)."""

    rounds_up: ClassVar[bool] = False
    """The number of windows is rounded up, where other frameworks round down (Pooling)."""

    keeps_values: ClassVar[bool] = False
    """The tops hold the bottom's values in their order, under whatever shape (Flatten, Split)."""

    keeps_places: ClassVar[bool] = False
    """A value of the tops stands where the values of the bottoms stand that it comes from (ReLU, Eltwise)."""

    each_place: ClassVar[bool] = False
    """What it computes along `axis`, it computes at each place of the other axes by itself (Softmax)."""

    crops: ClassVar[bool] = False
    """The top is bottom 0 cut to the size of bottom 1 (Crop)."""

    passes: ClassVar[slice] = slice(0)
    """The bottoms whose values the tops hold, in any order: nothing is computed (Slice, Concat; Crop's bottom 0)."""

    keeps_zeros: ClassVar[bool] = False
    """Where all bottoms are 0, so are the tops, up to the second parameter (a bias)."""

    keeps_rms: ClassVar[bool] = False
    """The root mean square of the tops is about that of bottom 0."""

    keeps_positive: ClassVar[bool] = False
    """Values above 0 stay as they are (ReLU)."""

    is_positive: ClassVar[bool] = False
    """The values of the tops are above 0 (Sigmoid)."""

    drops_values: ClassVar[bool] = False
    """TRAIN: values are replaced by 0 at random; TEST: the top is the bottom (Dropout)."""

    overwritable: ClassVar[bool] = False
    """torch's backward pass of `forward` does not need the tops: a layer in place behind it may write over them."""

    fresh: ClassVar[bool] = False
    """The tops are always new memory: where no gradients are recorded, a layer in place behind may write over them."""

    backward_reads_top: ClassVar[bool] = False
    """Caffe computes the gradient from the top, which a layer in place behind it must therefore not change."""

    def dead_at_zero(self) -> bool:
        """Whether no gradient passes where the bottom is 0 or below."""
        return False

    def rms(self, bottom: float, *others: float | None) -> float | None:
        """The root mean square of the tops as the initial weights make it, from that of bottom 0 and, where they are
        known, of the others; None where it cannot be told."""
        if self.linear:
            return weighted_rms(bottom, self.blobs)
        return bottom if self.keeps_rms else None

    # -- what a net that only computes does without -----------------------------------------------------------------

    def hands_on(self) -> bool:
        """Whether its top is its bottom, value for value, in its own phase and with its settings."""
        return False

    def affine(self, arrays: Sequence[Any], bottoms: Sequence[Shape]) -> Affine | str:
        """What it multiplies with and adds, given its parameters, where these are the same for every input; or why they
        are not ("" for a type that is of another kind)."""
        return ""

    def with_affine_behind(self, arrays: Sequence[Any], affine: Affine, top: Shape) -> list[Any] | str:
        """Its parameters, single precision, with those of an affine layer behind it taken in; or why it cannot do so.
        There is a bias among them where anything is added, which `set_bias` enters into the settings."""
        return "it has no weights for it"

    def with_affine_before(self, arrays: Sequence[Any], affine: Affine, bottom: Shape) -> list[Any] | str:
        """The same for an affine layer before it."""
        return "it has no weights for it"

    def set_bias(self, param: Any) -> None:
        """Enter into its settings, in `param`, that it has a bias."""
        getattr(param, self.param_field or "").bias_term = True

    # -- parameters ----------------------------------------------------------------------------------------------------

    blob_lists: ClassVar[tuple[tuple[str, ...], ...]] = (("weight", "bias"),)
    """The names of its parameters in Caffe's order, a list for each number of them that there may be; a weight may
    also stand alone."""

    starts: ClassVar[Mapping[str, float]] = {}
    """The constant that a parameter starts at where its filler is absent, by the filler's field; 0 for all others."""

    weight_axes: ClassVar[int | None] = None
    """How many of the four axes that every array of a file of 2014 has are those of the weights; None: those behind
    the leading ones."""

    def other_count(self, count: int) -> str | None:
        """What it means that a file has `count` arrays for this layer, as advice; None where nothing is known of it."""
        return None

    def doubtful(self, arrays: Sequence[Any]) -> str | None:
        """What should be said of the arrays that a file has for this layer, where they are likely not meant so."""
        return None

    @classmethod
    def blob_names(cls, count: int, bottoms: int = 1) -> list[str]:
        """The names of `count` parameters of a layer with that many bottoms, numbers where the type has not so many."""
        names = next((names for names in cls.blob_lists if len(names) == count), Facts.blob_lists[0])
        return [*names[:count], *map(str, range(len(names), count))]

    from_matrix: bool = False
    """Parameter 0 may come from a file as the matrix of an InnerProduct over a whole window: the same values in the
    same order, and so the same layer (Convolution)."""

    # -- pictures ------------------------------------------------------------------------------------------------------

    kind: ClassVar[str] = ""
    """What it is drawn as, a key of netc.look.draw.words.KINDS; "" leaves it to is_source and is_loss."""

    def summary(self) -> str | None:
        """The settings that matter most, in a few words; None for the first three that are not the default. It is asked
        before `setup`."""
        return None
