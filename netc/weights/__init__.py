"""Weight files ⇄ {layer name: [array, …]}.

    >>> from netc import weights
    >>> arrays = weights.read("VGG_ILSVRC_19_layers.caffemodel")     # views of the file, by layer name
    >>> print(weights.plan(target, arrays))                          # what would go where

numpy is imported here, torch only where tensors are given.
"""

from __future__ import annotations

from netc.weights.arrays import Array as Array
from netc.weights.arrays import SolverState as SolverState
from netc.weights.arrays import Weights as Weights
from netc.weights.card import Card as Card
from netc.weights.card import Preprocessing as Preprocessing
from netc.weights.card import read_card as read_card
from netc.weights.formats.caffemodel import trained_net as trained_net
from netc.weights.formats.caffemodel import write_blob as write_blob
from netc.weights.formats.caffemodel import write_caffemodel as write_caffemodel
from netc.weights.formats.caffemodel import write_solverstate as write_solverstate
from netc.weights.formats.hdf5 import write_hdf5 as write_hdf5
from netc.weights.formats.npz import write_npz as write_npz
from netc.weights.formats.safetensors import write_safetensors as write_safetensors
from netc.weights.layers import StoredLayer as StoredLayer
from netc.weights.layers import StoredNet as StoredNet
from netc.weights.layers import read_layers as read_layers
from netc.weights.layers import read_net as read_net
from netc.weights.match import Plan as Plan
from netc.weights.match import copy_weights as copy_weights
from netc.weights.match import plan as plan
from netc.weights.match import target_of as target_of
from netc.weights.match import transplant as transplant
from netc.weights.pieces import fill as fill
from netc.weights.pieces import loaded as loaded
from netc.weights.pieces import pieces as pieces
from netc.weights.reader import read as read
from netc.weights.reader import read_blob as read_blob
from netc.weights.reader import read_solverstate as read_solverstate

__all__ = [
    "Array",
    "Weights",
    "SolverState",
    "StoredLayer",
    "StoredNet",
    "Plan",
    "Card",
    "Preprocessing",
    "read",
    "read_card",
    "read_layers",
    "read_net",
    "pieces",
    "fill",
    "loaded",
    "read_blob",
    "read_solverstate",
    "plan",
    "transplant",
    "copy_weights",
    "target_of",
    "trained_net",
    "write_caffemodel",
    "write_safetensors",
    "write_npz",
    "write_hdf5",
    "write_solverstate",
    "write_blob",
]
