"""A net that names the class of pictures, looked at in the ways of `protocol`: the one place where such a net runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netc.errors import NetcError, Place
from netc.graph.ir import Graph
from netc.passes.convolutional import image_input
from netc.prototxt.format import canonical
from netc.runtime.data.decoding import Pixels
from netc.runtime.evaluate.dense import Dense, Scores, as_map, dense, deployed_graph, scores_of
from netc.runtime.evaluate.images import Input, check_room, input_of, resized, says_no_mean, with_mean
from netc.runtime.evaluate.memory import at_once, peak
from netc.runtime.evaluate.protocol import CENTRE, DENSE, Look, windows
from netc.runtime.net.module import Net
from netc.weights.card import Preprocessing
from netc.weights.preprocessing import preprocessing_of

Posteriors = NDArray[np.float64]
"""(2 orders, …, classes): the soft-max of the mean score, the mean of the soft-max, over the places of a map."""

VERSION = 2
"""Of what is computed: a change of it makes the results that are kept on disk worthless."""


class Classifier:
    """A net in the TEST phase, with what it takes.

    `shown`: what is known of its images, by default what its card or net says. mean, crop: as netc.posteriors. Raises
    NetcError R730, R731, R733, R735 (a net of the TRAIN phase), R743 (what is no net).
    """

    kind = "posteriors"
    """What the values are."""

    def __init__(
        self,
        net: Net,
        blob: str | None = None,
        shown: Preprocessing | None = None,
        mean: Any = None,
        crop: Any = None,
    ) -> None:
        if not isinstance(net, Net):
            hint = "load it first: netc.load_net(NET, weights=FILE)"
            raise NetcError("R743", f"the net is of the type {type(net).__name__}", None, hint)
        if net.run.training:
            hint = 'load it with phase="TEST"'
            raise NetcError(
                "R735", "the net is one of the TRAIN phase, and drops values at random", Place(net.graph.path), hint
            )
        self.net = net
        self.graph = deployed_graph(net)
        self.image = image_input(self.graph)
        self.blob, self.classes = self._values(blob)
        found = shown or shown_by(net, self.graph)
        channels = self.graph.shapes[self.image][1]
        found = with_mean(found, mean, channels) if mean is not None else found
        self.input: Input = input_of(self.graph, self.image, found, says_no_mean(net.graph), crop)
        self.names: Sequence[str] = ()
        """Of the classes, where its card knows them."""
        self.scale: int | None = None
        """The shorter side to which its own data layer rescales pictures in tests."""
        self._most: dict[tuple[int, ...], int] = {}

    def _values(self, blob: str | None) -> Scores:
        """The blob that is looked at, and how many values a place of it has. Raises NetcError R730, R602."""
        return scores_of(self.graph, blob)

    @staticmethod
    def averaged(maps: Tensor) -> Posteriors:
        """(2, images, classes) of maps (images, classes, rows, columns)."""
        return posteriors_of(maps)

    @cached_property
    def dense(self) -> Dense:
        """The net on whole images. Raises NetcError L308, L309."""
        return dense(self.net, self.blob)

    @cached_property
    def device(self) -> torch.device:
        return next((tensor.device for tensor in self.net.parameters()), torch.device("cpu"))

    def check(self, looks: Sequence[Look]) -> None:
        """Whether these looks are possible, before any image is read. Raises NetcError R732, L308, L309."""
        check_room([look.scale for look in looks], self.input.crop)
        if any(look.view == DENSE for look in looks):
            _ = self.dense

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that decides its scores: the net, its parameters, its input, which scores, and how it
        computes."""
        sha = hashlib.sha256(canonical(self.graph.param).encode())
        said = {**asdict(self.input), "blob": self.blob, "version": VERSION, **self.net.conditions()}
        said |= {"values": self.kind} if self.kind != Classifier.kind else {}
        sha.update(json.dumps(said, sort_keys=True).encode())
        for name, blobs in self.net.params.items():
            sha.update(name.encode("utf-8", "surrogateescape"))
            for blob in blobs:
                sha.update(blob.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()

    # -- images that rescale to one size -------------------------------------------------------------------------------

    def posteriors(self, images: Sequence[Pixels], looks: Sequence[Look]) -> Iterator[tuple[Look, Posteriors]]:
        """Each look's (2, images, classes). The images have one ratio of height to width where a look is dense, so that
        they have one size at every scale."""
        for scale in dict.fromkeys(look.scale for look in looks):
            planes = [self.input.planes(resized(pixels, scale)) for pixels in images]
            for look in looks:
                if look.scale == scale:
                    yield look, self._look(planes, look)

    @torch.inference_mode()
    def _look(self, planes: Sequence[NDArray[np.float32]], look: Look) -> Posteriors:
        if look.view == DENSE:
            return self._whole(planes, look.flip)
        if look.view == CENTRE:
            middle = np.concatenate([self.crops(one, look.view) for one in planes])
            return self._run(middle, look.flip, self._on_crops)
        each = (self._run(self.crops(one, look.view), look.flip, self._on_crops) for one in planes)
        return np.stack([crops.mean(1) for crops in each], axis=1)

    def _whole(self, planes: Sequence[NDArray[np.float32]], flip: bool) -> Posteriors:
        """Of one size; others (a header that tells another size than the picture has) by themselves."""
        if len({one.shape for one in planes}) == 1:
            return self._run(np.stack(planes), flip, self._on_images)
        return np.concatenate([self._run(one[None], flip, self._on_images) for one in planes], axis=1)

    def crops(self, planes: NDArray[np.float32], view: str) -> NDArray[np.float32]:
        """(windows, C, H, W) of an image (C, H, W), or of its several windows."""
        height, width = self.input.crop
        corners = windows(view, planes.shape[1:], self.input.crop)
        return np.stack([planes[:, top : top + height, left : left + width] for top, left in corners])

    def _run(self, batch: NDArray[np.float32], flip: bool, net: Any) -> Posteriors:
        """A batch of any length, by parts that stay within memory. Each part is a tensor of torch's own: where in
        memory a matrix begins can decide in which order MKL sums up. Convolutions on a CPU are faster where the
        channels of a pixel lie side by side, and all that follows stays so."""
        most = self._at_once(batch.shape, net == self._on_images)
        given = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)
        given = given.flip(3) if flip else given
        parts = [self.averaged(net(part.clone().to(self.device))) for part in given.split(most)]
        return np.concatenate(parts, axis=1)

    def _on_images(self, batch: Tensor) -> Tensor:
        return self.dense.map(batch)

    def _on_crops(self, batch: Tensor) -> Tensor:
        scores: Tensor = self.net({self.image: batch}, blobs=[self.blob])[self.blob]
        return as_map(scores)

    def _at_once(self, shape: tuple[int, ...], whole: bool) -> int:
        size = (int(whole), *shape[2:])
        if size not in self._most:
            each = self.dense.plan(*shape[2:]).bytes if whole else peak(self.graph, self.image)
            self._most[size] = at_once(each)
        return self._most[size]


def posteriors_of(maps: Tensor) -> Posteriors:
    """Score maps (N, K, rows, columns) → (2, N, K): the soft-max of the mean score of all places, and the mean over
    all places of their soft-max."""
    scores = maps.flatten(2).double()
    first = scores.mean(2).softmax(1)
    second = scores.softmax(1).mean(2)
    found: Posteriors = torch.stack([first, second]).cpu().numpy()
    return found


def shown_by(net: Net, deployed: Graph) -> Preprocessing:
    """What the card of a net's weights, or else the net itself, says of its images."""
    own = preprocessing_of(net.graph.param, deployed, net.graph.path)
    if net.card is None:
        return own
    card = net.card.preprocessing
    return card if card.mean is not None or card.std is not None else replace(card, mean=own.mean, scale=own.scale)


@contextmanager
def image_named(name: str) -> Iterator[None]:
    """Errors of a picture name it."""
    try:
        yield
    except NetcError as error:
        if error.code == "D520" and name not in error.message:
            raise NetcError("D520", f"{name}: {error.message}", error.place, error.hint) from None
        raise
