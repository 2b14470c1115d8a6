"""What a layer's submodule is called: the first part of its keys in `state_dict`, everywhere where there are keys.

A running net, a converted weight file and an emitted module all ask here, so that the weights of one load into another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netc.ir import Graph

_ATTRIBUTES = """
T_destination _apply _backward_hooks _backward_pre_hooks _buffers _call _call_impl _check_blobs
_compiled_call_impl _create_params _execute _explain _feed _forward_hooks _forward_hooks_always_called
_forward_hooks_with_kwargs _forward_pre_hooks _forward_pre_hooks_with_kwargs _get_backward_hooks
_get_backward_pre_hooks _get_name _given _is_full_backward_hook _load_from_state_dict
_load_state_dict_post_hooks _load_state_dict_pre_hooks _loss_weights _maybe_warn_non_full_backward_hook
_module_name _modules _named_members _needed _new_param _non_persistent_buffers_set _parameters _plan
_register _register_load_state_dict_pre_hook _register_state_dict_hook _replicate_for_data_parallel
_returned _save_to_state_dict _slow_forward _state_dict_hooks _state_dict_pre_hooks _step _steps _version
_walk _wrapped_call_impl add_module apply bfloat16 blob_shapes buffers call_super_init children clock
compile copy_from cpu cuda double dump_patches eval extra_repr feeds float forward get_buffer
get_extra_state get_parameter get_submodule graph half inputs ipu load_state_dict losses modules mtia
named_buffers named_children named_modules named_parameters outputs own_params parameters params
register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
register_state_dict_pre_hook requires_grad_ run seed set_extra_state set_submodule share_from share_memory
state_dict to to_empty train training type xpu zero_grad
"""
RESERVED = frozenset(_ATTRIBUTES.split())
"""Attributes of torch.nn.Module and of netc.runtime.net.Net, which a submodule must not hide. A list and not a look at
the class: keys in files do not change with the version of torch."""


def module_names(graph: Graph) -> dict[int, str]:
    """Node index → submodule name, for the nodes with parameters.

    The layer's name, with "_" for dots (they would read as nesting) and behind an attribute's name; a name that is
    taken gets "#" and the node's index, an empty one is "layer" and the index.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    for index, node in enumerate(graph.nodes):
        if node.params:
            names[index] = _module_name(node.name, index, taken)
            taken.add(names[index])
    return names


def _module_name(layer: str, index: int, taken: set[str]) -> str:
    name = layer.replace(".", "_") or f"layer{index}"
    if name in RESERVED or (name.startswith("__") and name.endswith("__")):
        name += "_"
    while name in taken:
        name = f"{name}#{index}"
    return name
