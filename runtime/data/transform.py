"""Picture → what goes into the batch: Caffe's transform_param, and the paper's rescaling and colour shift.

Order: rescale to a shorter side S, crop, flip, colour shift, mean, scale.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.files.opening import read_bytes
from netc.files.paths import resolve
from netc.layers import registry
from netc.layers.base import Shape, format_shape
from netc.prototxt.forks import no_reader_for, transform_of_fork
from netc.runtime.data.boxes import area, centred
from netc.runtime.data.datum import Picture, planes_of
from netc.runtime.data.decoding import MAX_PIXELS, as_array
from netc.runtime.data.rescale import Crop, rescaled, resized_region
from netc.runtime.net import rand

TRAIN = 0
_DRAWS = 7  # scale, row, column, flip, three for the colours
_NORMAL = NormalDist()


_COLOR_BYTES = 1 << 16
_COMPONENTS = checked_json.Record({"eigenvalue": [float], "eigenvector": [float]})


class Transform:
    """The transform of one data layer. Pixels stay uint8 until `arithmetic`, the last step.

    Raises NetcError L356 for settings of a fork that it does not have, D505 to D509 for settings that contradict each
    other, D521 for a picture smaller than the crop.
    """

    def __init__(self, param: Any, phase: int, path: str = "", place: Place | None = None) -> None:
        self.param, self.options = param, param.transform_param
        self.name, self.place, self.path = param.name, place or Place(path or "<net>"), path
        if (found := transform_of_fork(param)) is not None:
            raise no_reader_for(param, *found, self.place)
        self.training = phase == TRAIN
        self.crop = int(self.options.crop_size)
        self.batch_size = int(getattr(param, registry()[param.type].param_field or "").batch_size)
        self.scales = self._scales()
        self.mirror, self.factor = bool(self.options.mirror), np.float32(self.options.scale)
        self.mean = np.array(self.options.mean_value, np.float32)
        self.mean_file: NDArray[np.float32] | None = None
        """(C, H, W), the mean image; a file of one value a channel goes to `mean`."""
        if self.options.mean_file:
            self._read_mean()
        self.deviations = self._deviations() if self.training and self.options.HasField("color_shift_param") else None

    def _fail(self, code: str, message: str, hint: str | None = None) -> NetcError:
        return NetcError(code, f'layer "{self.name}": {message}', self.place, hint)

    # -- settings ------------------------------------------------------------------------------------------------------

    def _scales(self) -> tuple[int, int] | None:
        """The range S is drawn from; in TEST, and where it is fixed, both ends are equal. None: no rescaling."""
        if not self.options.HasField("rescale_param"):
            return None
        given = self.options.rescale_param
        low, high = given.min_short_side, given.max_short_side
        if bool(low) != bool(high) or bool(given.short_side) == bool(low) or low > high:
            raise self._fail(
                "D505",
                "rescale_param takes short_side, or min_short_side and max_short_side",
                "S fixed: short_side: 256; jittered: min_short_side: 256 max_short_side: 512",
            )
        if given.short_side:
            low = high = given.short_side
        if low < self.crop:
            raise self._fail("D506", f"a shorter side of {low} is less than the crop, {self.crop}")
        middle = (low + high) // 2
        return (low, high) if self.training else (middle, middle)

    def _read_mean(self) -> None:
        if self.options.mean_value:
            raise self._fail("D507", "mean_file and mean_value are both given", "keep one")
        from netc.weights.mean import read_mean

        found = read_mean(resolve(self.options.mean_file, self.path, "mean file", self.place))
        if found.ndim == 1:
            self.mean = found
        elif self.scales:
            raise self._fail(
                "D507",
                "a mean image has one size, but rescale_param changes the images'",
                "use mean_value; `netc image-mean` prints the three numbers",
            )
        else:
            self.mean_file = found

    def _deviations(self) -> NDArray[np.float64]:
        """A row for each component of the pixels' colours (blue, green, red): std · √eigenvalue · eigenvector (T12)."""
        given = self.options.color_shift_param
        values, vectors = list(given.eigenvalue), list(given.eigenvector)
        if given.file and (values or vectors):
            raise self._fail("D508", "color_shift_param gives its components twice, as a file and as lists", "keep one")
        if not given.std >= 0:
            raise self._fail("D508", f"color_shift_param has a std of {given.std:g}; it is never negative")
        if given.file:
            values, vectors = self._color_file(given.file)
        if len(values) != 3 or len(vectors) != 9:
            raise self._fail(
                "D508",
                f"color_shift_param has {len(values)} eigenvalues and {len(vectors)} components of "
                "eigenvectors; it takes 3 and 9",
                "`netc image-mean` computes them and writes the file",
            )
        if not min(values) >= 0:
            raise self._fail("D508", f"an eigenvalue of {min(values):g}: those of a covariance are never negative")
        lengths = given.std * np.sqrt(values).reshape(3, 1)
        deviations: NDArray[np.float64] = lengths * np.array(vectors).reshape(3, 3)
        return deviations

    def _color_file(self, name: str) -> tuple[list[float], list[float]]:
        path = resolve(name, self.path, "file of colour components", self.place)
        try:
            content = checked_json.parse(read_bytes(path, _COLOR_BYTES, self.place))
            checked_json.check(content, _COMPONENTS)
            return [float(x) for x in content["eigenvalue"]], [float(x) for x in content["eigenvector"]]
        except (OSError, ValueError) as error:
            raise self._fail("D508", f"{path} is not what `netc image-mean` writes ({error})") from None

    # -- shapes --------------------------------------------------------------------------------------------------------

    def shapes(self, first: Picture, tops: int) -> list[Shape]:
        """The top shapes, from the first picture of the source."""
        if self.batch_size < 1:
            raise self._fail("D509", "needs a batch_size of at least 1")
        channels, height, width = first.size
        if self.crop:
            height = width = self.crop
        elif self.scales:
            height, width = rescaled(height, width, self.scales[0])
        if tops > 2:
            self._check_boxes(first)
        label = np.shape(first.label)
        return [(self.batch_size, channels, height, width), (self.batch_size, *label), (self.batch_size, 4)][:tops]

    def _check_boxes(self, first: Picture) -> None:
        if self.options.ignore_orientation:
            message = "boxes are those of upright pictures, and ignore_orientation leaves these as they lie"
            raise self._fail("D564", message, "take ignore_orientation out")
        self.object_of(first)

    # -- one picture ---------------------------------------------------------------------------------------------------

    def draws(self, *key: int | str) -> list[float]:
        """The random numbers of one picture, a pure function of `key`."""
        return rand.draws(*key, n=_DRAWS)

    def sample(self, picture: Picture, draws: list[float]) -> Crop:
        """The region to take. TRAIN: at random; TEST: the centre. The flip is random in both, as in Caffe."""
        _, height, width = picture.size
        if self.scales:
            low, high = self.scales
            height, width = rescaled(height, width, low + int(draws[0] * (high - low + 1)))
        size = (self.crop, self.crop) if self.crop else (height, width)
        if self.scales and size[0] * size[1] > MAX_PIXELS:
            shape = format_shape(picture.size[1:])
            message = f'the picture "{picture.name}", {shape}, would be rescaled to more than {MAX_PIXELS:,} pixels'
            raise self._fail("D520", message, "set crop_size, or leave the picture out")
        if size[0] > height or size[1] > width:
            raise NetcError(
                "D521",
                f'layer "{self.name}": the picture "{picture.name}" is {height}×{width}, '
                f"less than the crop, {self.crop}",
                self.place,
                "rescale_param enlarges small pictures",
            )
        rows, columns = height - size[0], width - size[1]
        top, left = (
            (int(draws[1] * (rows + 1)), int(draws[2] * (columns + 1))) if self.training else (rows // 2, columns // 2)
        )
        return Crop(height, width, top, left, size, self.mirror and draws[3] < 0.5)

    def cut(self, picture: Picture, crop: Crop) -> NDArray[Any]:
        """The crop's pixels, rescaled but not flipped, as (C, h, w): a view, in the order blue, green, red."""
        if picture.planar:
            return self._cut_planes(picture, crop)
        if picture.size[1:] == (crop.height, crop.width):
            return planes_of(as_array(picture.pixels)[crop.rows, crop.columns])
        return planes_of(resized_region(picture.pixels, crop))

    def _cut_planes(self, picture: Picture, crop: Crop) -> NDArray[Any]:
        planes: NDArray[Any] = picture.pixels
        if picture.size[1:] == (crop.height, crop.width):
            return planes[:, crop.rows, crop.columns]
        if planes.dtype != np.uint8:
            message = f'record "{picture.name}" holds float values, which rescale_param cannot resize'
            raise self._fail("D509", message)
        if len(planes) not in (1, 3, 4):
            message = f'record "{picture.name}" has {len(planes)} channels; rescale_param resizes 1, 3 or 4'
            raise self._fail("D509", message)
        return resized_region(planes.transpose(1, 2, 0), crop).transpose(2, 0, 1)

    # -- its box -------------------------------------------------------------------------------------------------------

    def box(self, picture: Picture, crop: Crop) -> NDArray[np.float64]:
        """The box to be learned: (4,) centre x, centre y, width, height of the picture's object in the crop, in parts
        of the crop's sides (T8); not cut at its edges. Raises NetcError D564."""
        _, height, width = picture.size
        (rows, columns), scale = crop.size, np.array([crop.width / width, crop.height / height] * 2)
        x1, y1, x2, y2 = self.object_of(picture) * scale - [crop.left, crop.top] * 2
        if crop.flip:
            x1, x2 = columns - x2, columns - x1
        return centred([x1, y1, x2, y2]) / [columns, rows, columns, rows]

    def object_of(self, picture: Picture) -> NDArray[np.float64]:
        """(4,) x1 y1 x2 y2 of the largest object of the picture's own class. Raises NetcError D564 without one."""
        if picture.boxes is None:
            message = f'the record "{picture.name}" has no boxes'
            raise self._fail("D564", message, "netc convert-imageset --boxes stores them; or take the third top out")
        own = picture.boxes[picture.boxes[:, 0] == picture.label, 1:]
        if not len(own):
            message = f'the record "{picture.name}" has no box of its own class, {picture.label:g}'
            raise self._fail("D564", message)
        largest: NDArray[np.float64] = own[area(own).argmax()]
        return largest

    # -- arithmetic ----------------------------------------------------------------------------------------------------

    def arithmetic(self, planes: NDArray[Any], crop: Crop, draws: list[float], out: NDArray[np.float32]) -> None:
        """Flip, subtract mean and colour shift, scale: (C, h, w) of any type into `out`, float32.

        A picture at a time, into its place in the batch, while its pixels are in the processor's cache: four times as
        fast as first collecting the batch in uint8 and converting it as a whole.
        """
        out[...] = planes[:, :, ::-1] if crop.flip else planes
        offset = self._offset(len(planes), crop, draws)
        if offset is not None:
            out -= offset[:, :, ::-1] if crop.flip else offset
        if self.factor != 1:
            out *= self.factor

    @property
    def subtracts_colours(self) -> bool:
        """Whether all that is subtracted is one number for each channel of a picture."""
        return self.mean_file is None

    def flipped(
        self, planes: NDArray[Any], crop: Crop, draws: list[float], out: NDArray[np.uint8]
    ) -> NDArray[np.float32] | None:
        """The part of `arithmetic` that leaves bytes bytes: into `out`. Returns what is still to be subtracted."""
        out[...] = planes[:, :, ::-1] if crop.flip else planes
        return self._offset(len(planes), crop, draws)

    def shift(self, draws: list[float]) -> NDArray[np.float64]:
        """The colour shift of one picture (blue, green, red): Σ pᵢ αᵢ √λᵢ, αᵢ ~ N(0, std²) (numerics.md, T12)."""
        assert self.deviations is not None
        shift: NDArray[np.float64] = [
            _NORMAL.inv_cdf(min(max(u, 1e-12), 1 - 1e-12)) for u in draws[4:]
        ] @ self.deviations
        return shift

    def _offset(self, channels: int, crop: Crop, draws: list[float]) -> NDArray[np.float32] | None:
        """What is subtracted from each channel before scaling: (C, h, w) or (C, 1, 1). None: nothing."""
        if self.mean_file is not None:
            return self._mean_crop(crop, channels)
        mean: NDArray[Any] = self.mean
        if len(mean) not in (0, 1, channels):
            raise self._fail(
                "D507",
                f"{len(mean)} values of the mean for images of {channels} channels",
                "give one, or one for each channel (blue, green, red)",
            )
        if self.deviations is not None and channels == 3:
            mean = (mean if len(mean) else np.zeros(3)) - self.shift(draws)
        if not len(mean):
            return None
        return mean.astype(np.float32).reshape(-1, 1, 1)

    def _mean_crop(self, crop: Crop, channels: int) -> NDArray[np.float32]:
        """Caffe's indexing: the mean image is cropped where the picture is, before the flip."""
        assert self.mean_file is not None
        if self.mean_file.shape != (channels, crop.height, crop.width):
            found, wanted = format_shape(self.mean_file.shape), format_shape((channels, crop.height, crop.width))
            raise self._fail(
                "D507",
                f"the mean image {self.options.mean_file} is {found}, the images are {wanted}",
                "compute it from this database: netc image-mean; or use mean_value",
            )
        return self.mean_file[:, crop.rows, crop.columns]
