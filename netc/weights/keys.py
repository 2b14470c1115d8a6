"""The keys of a net's `state_dict`, "<layer>.<blob>", computed without torch: for a compiled net, and for a weight file
whose layers are known by name and type alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from netc.layers import Layer, registry

if TYPE_CHECKING:
    from netc.graph.ir import Graph

_ATTRIBUTES = """
T_destination _apply _backward_hooks _backward_pre_hooks _buffers _call _call_impl _check_blobs _compiled_call_impl
_create_params _execute _explain _feed _fill _forward_hooks _forward_hooks_always_called _forward_hooks_with_kwargs
_forward_pre_hooks _forward_pre_hooks_with_kwargs _get_backward_hooks _get_backward_pre_hooks _get_name _given
_is_full_backward_hook _load_from_state_dict _load_state_dict_post_hooks _load_state_dict_pre_hooks
_look_on_the_way_back _loss_weights _maybe_warn_non_full_backward_hook _modules _named_members _needed _new_param
_non_persistent_buffers_set _parameters _plan _records _register _register_load_state_dict_pre_hook
_register_state_dict_hook _replace _replicate_for_data_parallel _repr_html_ _returned _route _routes _save_to_state_dict
_share _share_by_name _slow_forward _state_dict_hooks _state_dict_pre_hooks _step _steps _take _version _walk _whole
_wrapped_call_impl add_module apply bfloat16 blob_shapes buffers call_super_init card children clock compile
computed_from computing conditions copy_from cpu cuda double dump_patches eval extra_repr feeding feeds float forward
get_buffer get_extra_state get_parameter get_submodule graph half has_loss inputs ipu load_state_dict losses modules
mtia named_buffers named_children named_modules named_parameters no_loss outputs outputs_of own_params parameters params
register_backward_hook register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ reset run seed
set_extra_state set_input_arrays set_submodule share_from share_memory share_views state_dict steps to to_empty tops
train training twin type xpu zero_grad
"""
TAKEN = frozenset(_ATTRIBUTES.split())
"""Attributes of a net (torch.nn.Module's and ours) that a layer's name must not hide. Written down, not asked of torch:
a key that depended on torch's version would not be found again."""


def module_names(layers: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Position → name in `state_dict` of each layer with parameters, given (position, Caffe's name) in the net's order.

    A dot would read as nesting and becomes an underscore; a name of `TAKEN` gets one at its end; a nameless layer and
    one whose name is used already are called by their position.
    """
    names: dict[int, str] = {}
    used: set[str] = set()
    for position, name in layers:
        plain = name.replace(".", "_") or f"layer{position}"
        if plain in used:
            plain = f"{plain}#{position}"
        elif plain in TAKEN or (plain.startswith("__") and plain.endswith("__")):
            plain += "_"
        while plain in used:
            plain += "_"
        used.add(plain)
        names[position] = plain
    return names


def state_keys(graph: Graph) -> dict[int, list[str]]:
    """Node position → the key of each of its parameters, in Caffe's blob order; `net.state_dict()` has the same keys in
    the same order."""
    holders = [(index, node) for index, node in enumerate(graph.nodes) if node.params]
    names = module_names((index, node.name) for index, node in holders)
    return {index: [f"{names[index]}.{ref.blob.name}" for ref in node.params] for index, node in holders}


def blob_names(type: str, count: int, bottoms: int = 1) -> list[str]:
    """The names of a layer's `count` blobs as its type has them, by number where a type of ours has not so many."""
    return registry().get(type, Layer).blob_names(count, bottoms)


def all_blob_names() -> list[str]:
    """The blobs of all types of layers, each once. Their order is Caffe's for those of the lists of one type."""
    return list(dict.fromkeys(name for names in _lists() for name in names))


def in_caffes_order(names: Iterable[str]) -> list[str] | None:
    """The names of all of a layer's blobs in Caffe's order, None where no type has just these."""
    given = set(names)
    return next((list(known) for known in _lists() if set(known) == given), None)


def _lists() -> Iterator[tuple[str, ...]]:
    kinds: list[type[Layer]] = [Layer, *registry().values()]
    return (names for kind in kinds for names in kind.blob_lists)
