"""docs/security.md: each promise has a name, each name the tests that hold it, and there are no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"

PROMISES = {
    "any-file": (
        "tests/cli/test_hostile_files.py::test_what_is_no_file_is_refused",
        "tests/cli/test_hostile_files.py::test_what_is_no_file_feeds_no_net",
        "tests/netc/files/test_opening.py::test_everything_else_is_refused_at_once",
        "tests/netc/files/test_opening.py::test_a_file_that_is_too_large_is_not_read",
    ),
    "one-door": ("tests/test_opening.py::test_files_are_opened_in_one_place",),
    "numbers": (
        "tests/cli/test_numbers.py::test_a_number_that_is_none",
        "tests/netc/files/test_checked_json.py::test_what_is_refused",
        "tests/netc/prototxt/test_limits.py::test_answers_without_much_work_and_memory",
    ),
    "names": (
        "tests/cli/test_terminal.py::test_no_control_character_is_printed",
        "tests/cli/test_check.py::test_names_do_not_drive_the_terminal",
        "tests/cli/test_fmt.py::test_a_files_name_does_not_drive_the_terminal",
    ),
    "output": ("tests/netc/files/test_durable.py::test_nothing_stays_of_what_failed",),
    "no-code": ("tests/netc/pycaffe/test_python_layers.py::test_a_module_runs_only_where_it_is_allowed",),
    "text-limits": ("tests/netc/prototxt/test_limits.py::test_answers_without_much_work_and_memory",),
    "binary-limits": (
        "tests/netc/prototxt/test_binary_limits.py::test_it_is_refused_in_time",
        "tests/netc/prototxt/test_binary_limits.py::test_learned_arrays_do_not_count",
    ),
    "drawings": (
        "tests/netc/look/draw/test_layout.py::test_a_top_that_every_layer_of_a_long_chain_reads",
        "tests/netc/look/draw/test_layout.py::test_wires_that_are_left_out_are_counted",
    ),
    "drawn-names": (
        "tests/cli/test_draw.py::test_hostile_names_are_harmless",
        "tests/cli/test_draw.py::test_light_and_dark_and_nothing_from_outside",
    ),
    "emitted-names": ("tests/netc/look/emit/test_hostile.py::test_a_name_is_only_a_name",),
    "consent": (
        "tests/netc/pycaffe/test_python_layers.py::test_consent_to_a_module_does_not_open_its_folder",
        "tests/netc/pycaffe/test_python_layers.py::test_a_module_beside_is_asked_for",
    ),
    "hdf5-output": (
        "tests/runtime/data/test_hdf5_output.py::test_a_net_writes_below_its_folder_and_through_no_link",
        "tests/runtime/data/test_hdf5_output.py::test_no_file_is_replaced_that_it_did_not_write",
    ),
    "weights-damaged": (
        "tests/netc/weights/test_hostile.py::test_files_cut_short",
        "tests/netc/weights/test_hostile.py::test_flipped_bits",
    ),
    "weights-memory": (
        "tests/netc/weights/test_wire.py::test_declared_sizes_allocate_nothing",
        "tests/netc/weights/test_npz.py::test_megabytes_of_zeros_are_not_unpacked",
        "tests/netc/weights/test_hdf5.py::test_megabytes_of_zeros_are_not_unpacked",
    ),
    "weights-links": (
        "tests/netc/weights/test_hdf5.py::test_links_are_not_followed",
        "tests/netc/weights/test_hdf5.py::test_no_other_file_is_opened",
    ),
    "weights-pickle": ("tests/netc/weights/test_wire.py::test_foreign_files_are_named",),
    "weights-truncated": ("tests/netc/weights/test_pieces.py::test_a_file_truncated_while_it_is_open_is_an_error",),
    "weights-names": ("tests/netc/weights/test_conversion.py::test_names_in_a_zip_file_are_harmless_and_come_back",),
    "net-of-weights": (
        "tests/netc/test_unread_nets.py::test_no_command_writes_what_such_a_net_names",
        "tests/netc/test_unread_nets.py::test_such_a_net_opens_no_data",
        "tests/netc/test_unread_nets.py::test_consent",
    ),
    "json": (
        "tests/netc/files/test_checked_json.py::test_what_is_refused",
        "tests/netc/files/test_checked_json.py::test_types",
        "tests/netc/weights/test_conversion.py::test_a_card_that_is_none",
        "tests/runtime/data/test_transform.py::test_a_file_of_colour_components_that_is_none",
    ),
    "manifest": (
        "tests/runtime/solver/test_snapshot.py::test_a_manifest_cannot_lead_elsewhere",
        "tests/runtime/solver/test_snapshot.py::test_signed_manifests_of_odd_types",
        "tests/runtime/solver/test_resume.py::test_a_signed_manifest_of_odd_extras",
    ),
    "manifest-bits": ("tests/runtime/solver/test_snapshot.py::test_changed_bits_are_noticed",),
    "records": ("tests/runtime/solver/test_metrics.py::test_lines_that_no_run_writes_are_passed_over",),
    "learned-net": ("tests/runtime/solver/test_snapshot.py::test_a_state_that_names_no_file",),
    "own-files": (
        "tests/runtime/solver/test_metrics.py::test_what_is_not_netcs_is_left_alone",
        "tests/runtime/solver/test_metrics.py::test_other_programs_locks_and_records_stay",
        "tests/runtime/solver/test_resume.py::test_files_that_netc_did_not_write_are_told_before_training",
    ),
    "lists": (
        "tests/runtime/imageset/test_lists.py::test_any_bytes_give_a_list_or_an_error_that_names_it",
        "tests/runtime/imageset/test_lists.py::test_lists_without_an_end",
    ),
    "hdf5-data": (
        "tests/runtime/data/test_hdf5_rows.py::test_what_is_not_taken_from_a_file",
        "tests/runtime/data/test_hdf5_rows.py::test_gigabytes_of_zeros_are_read_row_by_row",
        "tests/runtime/data/test_hdf5_rows.py::test_pipes_are_not_waited_for",
    ),
    "databases": (
        "tests/runtime/data/test_corrupted.py::test_an_lmdb",
        "tests/runtime/data/test_corrupted.py::test_a_leveldb",
        "tests/runtime/data/test_corrupted.py::test_what_ends_lmdb",
        "tests/runtime/data/test_database.py::test_changed_while_it_is_read",
    ),
    "database-time": ("tests/runtime/data/test_leveldb.py::test_an_index_that_names_a_block_again_and_again",),
    "data-lost": ("tests/faults/test_database_faults.py::test_what_was_learnt_is_saved",),
    "features": (
        "tests/runtime/transfer/test_files.py::test_damaged_files_are_refused_or_read",
        "tests/runtime/transfer/test_files.py::test_an_array_that_claims_more_than_the_file_has",
        "tests/runtime/transfer/test_files.py::test_packed_members_are_refused",
        "tests/runtime/transfer/test_files.py::test_no_pickle_is_loaded",
    ),
    "caches": (
        "tests/runtime/evaluate/test_run.py::test_what_is_damaged_or_of_others_is_computed_anew",
        "tests/runtime/engines/test_engines.py::test_a_damaged_file_is_written_again",
        "tests/runtime/engines/test_engines.py::test_damage_that_nothing_shows_is_found_by_the_proof",
    ),
    "boxes": (
        "tests/runtime/imageset/test_boxes.py::test_xml_that_is_none",
        "tests/runtime/imageset/test_boxes.py::test_json_that_is_not_cocos",
        "tests/runtime/imageset/test_boxes.py::test_lines_that_are_no_boxes",
    ),
    "pictures": ("tests/runtime/data/test_datum.py::test_bombs_are_refused_unopened",),
    "fuzzed": ("tests/fuzz/test_fuzz.py::test_corpus_and_mutations",),
}
"""Promise → the tests that hold it."""


def promised() -> list[str]:
    return re.findall(r"^\* \*\*([a-z0-9-]+)\*\* \S", PAGE.read_text("utf-8"), flags=re.MULTILINE)


def test_every_promise_has_its_tests_and_no_test_is_without_one() -> None:
    assert sorted(promised()) == sorted(PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_the_tests_are_there(name: str) -> None:
    for test in PROMISES[name]:
        file, _, function = test.partition("::")
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_what_is_not_promised_stands_there_too() -> None:
    """The reader's own code, others in the folder, the libraries, costs of a valid net."""
    section = PAGE.read_text("utf-8").partition("## What is not promised")[2]
    for words in ("plug-in", "--allow-python-layers", "at the same time", "torch", "any memory and any time"):
        assert words in section
