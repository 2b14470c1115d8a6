"""Every error code in one table: code → what it is about, in a line.

A code is for ever: it is never given to another error. The letter is the stage that found it (`netc.errors`). A test
holds that each code used in the sources stands here and that each code here is used.
"""

CODES: dict[str, str] = {
    # P: text
    # S: schema
    # U: upgrade
    # G: graph
    # L: layers
    # D: data
    # R: run
    # W: weights and snapshots
    # F: files that are missing
    "F900": "a file or folder that the system was asked for does not exist",
    # O: output that cannot be written
    "O900": "the system does not let netc write here",
    # X: I/O errors
    "X900": "the system reports an I/O error",
    # C: command line
    "C101": "a GPU that this machine does not have",
    "C102": "a list of GPUs that cannot be read",
}
