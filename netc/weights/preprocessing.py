"""What a net's input looks like: from the options of a conversion, or from the transform_param of the net itself."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netc.errors import NetcError, Place
from netc.files.paths import resolve
from netc.graph.ir import Graph
from netc.weights.card import Preprocessing
from netc.weights.mean import read_mean

if TYPE_CHECKING:
    from netc.weights.model import Model


def preprocessing_of(
    param: Any, graph: Graph | None, near: str = "", mean: str = "", scale: float | None = None, crop: int | None = None
) -> Preprocessing:
    """The preprocessing of a net (NetParameter or None).

    Args:
        graph: the same, compiled, if it can be. near: path of the file that names the net's mean image.
        mean: "104,117,123" (one value a channel, or one for all), a .binaryproto or .npy whose channel means count,
            or "" for what the net says. scale, crop: likewise, or None.
    Raises NetcError F120 (no such file), W767 (neither numbers nor a mean image; a scale that is none).
    """
    if scale is not None and not (scale and math.isfinite(scale)):
        raise NetcError("W767", f"a scale of {scale:g} leaves nothing of the input", None, "give such as --scale 0.017")
    transform = transform_of(param)
    shape = _input_shape(graph)
    channels = shape[1] if len(shape) == 4 else 3
    result = Preprocessing("BGR" if channels == 3 else "")
    _set_mean(result, mean, transform, near, channels)
    given = transform is not None and transform.HasField("scale")
    result.scale = scale if scale is not None else float(transform.scale) if given else 1.0
    square = shape[2] if len(shape) == 4 and shape[2] == shape[3] else None
    own = int(transform.crop_size) if transform is not None and transform.crop_size else square
    result.crop = crop if crop is not None else own
    return result


def looks_of(
    model: Model, net: str | None = None, mean: str = "", scale: float | None = None, crop: int | None = None
) -> tuple[Preprocessing, list[str]]:
    """What the images of a weight file's net look like: as its card says, else as the net that is given (`net`: its
    path), else as the net in the file. The second: where two of these differ.

    Raises NetcError as `preprocessing_of` and `converted_looks`.
    """
    given = mean, scale, crop
    shown = preprocessing_of(model.param, model.graph, net or model.path, *given)
    if model.card is not None:
        against = contradicted(model.card.preprocessing, shown, "the file's card", "the net", *given)
        return converted_looks(model.card.preprocessing, shown, *given), against
    if model.own is None:
        return shown, []
    own = _own_looks(model)
    return completed(shown, own, *given), contradicted(shown, own, "the net", "the net in the file", *given)


def _own_looks(model: Model) -> Preprocessing:
    """What the net that the file was trained as says of its images."""
    assert model.own is not None
    try:
        return preprocessing_of(model.own.param, model.graph, model.path)
    except NetcError:  # its mean does not fit the net that was given
        return Preprocessing()


def converted_looks(
    told: Preprocessing, net: Preprocessing, mean: str = "", scale: float | None = None, crop: int | None = None
) -> Preprocessing:
    """The preprocessing of a file that netc converted: as its card has it, which knows whether its weights were folded.

    Args:
        told: the card's. net: `preprocessing_of` the net with the same mean, scale and crop, for what the card does not
            know.
    Raises NetcError W767 (a mean or a scale for a file whose weights have taken them in).
    """
    folded = told.std is not None
    if folded and (mean or scale is not None):
        message = "mean and scale are folded into these weights already"
        raise NetcError("W767", message, None, "leave out --mean and --scale, or convert the original file")
    result = replace(told, crop=crop if crop is not None else told.crop or net.crop)
    if mean or told.mean is None:
        result.mean, result.mean_file = net.mean, net.mean_file or (None if mean else told.mean_file)
    if scale is not None or (told.scale == 1 and not folded):
        result.scale = net.scale
    return result


def completed(
    shown: Preprocessing, own: Preprocessing, mean: str = "", scale: float | None = None, crop: int | None = None
) -> Preprocessing:
    """What a net says of its images, and where it says nothing, what the net says that the weights were trained in.
    `mean`, `scale`, `crop`: as for `preprocessing_of`; what was given so stays."""
    result = replace(shown, crop=shown.crop or own.crop)
    if not mean and shown.mean is None and not shown.mean_file:
        result.mean, result.mean_file = own.mean, own.mean_file
    if scale is None and shown.scale == 1:
        result.scale = own.scale
    return result


def contradicted(
    one: Preprocessing,
    other: Preprocessing,
    said: str,
    against: str,
    mean: str = "",
    scale: float | None = None,
    crop: int | None = None,
) -> list[str]:
    """Where two nets say different things of the same images, `said` being believed; nothing where an option decides,
    or where the weights have taken mean and scale in."""
    if one.std is not None:
        return []
    found = []
    if not mean and one.mean and other.mean and not _same(one.mean, other.mean):
        found.append(f"{said} says mean {_numbers(one.mean)}, which counts; {against} says {_numbers(other.mean)}")
    if scale is None and 1 not in (one.scale, other.scale) and not _same([one.scale], [other.scale]):
        found.append(f"{said} says scale {one.scale:.6g}, which counts; {against} says {other.scale:.6g}")
    return found


def _same(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(one, other, strict=True))


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def transform_of(param: Any) -> Any:
    """The transform_param of the data layer that tests see, else of the first one."""
    found = [layer for layer in param.layer if layer.HasField("transform_param")] if param is not None else []
    tests = [layer for layer in found if any(rule.phase == 1 for rule in layer.include)]
    return (tests or found)[0].transform_param if found else None


def _input_shape(graph: Graph | None) -> tuple[int, ...]:
    return graph.shapes[graph.inputs[0]] if graph is not None and graph.inputs else ()


def _set_mean(result: Preprocessing, mean: str, transform: Any, near: str, channels: int) -> None:
    if mean:
        result.mean, result.mean_file = mean_named(mean, channels)
    elif transform is not None and transform.mean_value:
        result.mean = _spread([float(value) for value in transform.mean_value], channels, "mean_value")
    elif transform is not None and transform.mean_file:
        result.mean_file = transform.mean_file
        try:
            result.mean = _of_image(resolve(transform.mean_file, near, "mean file"), channels)
        except NetcError as error:
            if error.code not in ("F120", "F130"):  # the file's name is all there is, and the card says so
                raise


def mean_named(text: str, channels: int) -> tuple[list[float], str | None]:
    """A mean as people write it: "104,117,123", one value for all channels, or the name of a mean file, whose channel
    means count; and that name. Raises NetcError F120, W767, D507."""
    try:
        return _spread([float(part) for part in text.split(",")], channels, text), None
    except ValueError:
        return _of_image(resolve(text, what="mean file"), channels), os.path.basename(text)


def _of_image(path: str, channels: int) -> list[float]:
    image = read_mean(path)
    if image.ndim == 1 and len(image) in (1, channels):
        return _spread(image.tolist(), channels, path)
    if image.ndim == 1 or image.shape[0] != channels:
        message = f"the mean image has the shape {image.shape}, and the net's input {channels} channels"
        raise NetcError("W767", message, Place(path), "give one value a channel, such as --mean 104,117,123")
    return [float(value) for value in image.astype("f8").mean((1, 2))]


def _spread(values: list[float], channels: int, text: str) -> list[float]:
    hint = "give one for each channel, in the order blue, green, red, or one for all"
    if not all(map(math.isfinite, values)):
        raise NetcError("W767", f'the mean "{text}" is not a finite number', None, hint)
    if len(values) not in (1, channels):
        message = f'"{text}" gives {len(values)} means, and the net\'s input has {channels} channels'
        raise NetcError("W767", message, None, hint)
    return values if len(values) == channels else values * channels
