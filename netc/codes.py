"""Every error code in one table: code → what it is about, in a line.

A code is for ever: it is never given to another error. The letter is the stage that found it (`netc.errors`). A test
holds that each code used in the sources stands here and that each code here is used.
"""

CODES: dict[str, str] = {
    # P: text
    "P101": "a character or word where the format allows another",
    "P102": "blocks nested too deep",
    "P103": "a file larger than any net",
    "P104": "more fields than any net has",
    "P105": "not a prototxt: a web page or a binary file",
    # S: schema
    "S201": "a field that the message does not have",
    "S202": "a value of another kind than the field's",
    "S203": "a number outside the range of its field",
    "S204": "a name that the enum does not have",
    "S205": "a field given twice that is taken once",
    "S206": "a list for a field that takes one value",
    "S207": "a string that cannot be read",
    "S208": "a required field that is missing",
    # U: upgrade
    "U101": "two formats in one file",
    "U102": "an old format that is not read",
    "U103": "input fields that do not fit together",
    "U110": "a solver type given twice",
    # G: graph
    "G401": "include and exclude rules in one layer",
    "G402": "a bottom that no layer above produces",
    "G403": "a blob that two layers produce",
    "G404": "an in-place top in a layer that cannot work in place",
    "G405": "another number of tops than the layer makes",
    "G406": "another number of loss weights than tops",
    "G407": "more param blocks than the layer has parameters",
    "G408": "a shared parameter whose shapes differ",
    "G409": "a shared parameter whose multipliers differ",
    "G410": "a layer type that is missing or unknown",
    "G411": "another number of bottoms or tops than the layer takes",
    "G412": "another number of propagate_down than bottoms",
    "G413": "a gradient asked of a layer that cannot pass it",
    # L: layers
    "L301": "settings of a layer that contradict each other, or lack something",
    "L302": "a layer cannot work on bottoms of these shapes",
    "L304": "the shapes of a data layer's tops cannot be known without its data",
    "L305": "a label outside the classes",
    "L320": "a filler that is not known",
    "L321": "a filler that cannot fill this shape",
    # D: data
    "D540": "a line of an image list without a label that is one",
    "D541": "an image list or folder without pictures",
    "D542": "none of the pictures could be used",
    "D543": "pictures of different sizes under --check-size",
    "D544": "a database for the mean that is empty or no LMDB",
    "D545": "names of classes that do not fit",
    "D546": "a record that is no image that can be read",
    "D547": "images that have no common mean image",
    "D548": "principal colours of images without three channels",
    # R: run
    "R601": "inputs that are not the net's",
    "R602": "a blob that the net does not have",
    "R603": "a layer that failed while running",
    "R604": "no loss among the outputs",
    "R605": "a shared parameter that cannot be run in two shapes",
    # W: weights and snapshots
    "W701": "a file that is no weight file",
    "W702": "a weight file or solver state that is damaged",
    "W703": "a weight file with layers of two formats",
    "W704": "a blob whose shape and values disagree",
    "W705": "a .caffemodel where a .solverstate is expected",
    "W706": "a safetensors key that names no blob of a layer",
    "W707": "an HDF5 file, but h5py is not installed",
    "W720": "a layer with another number of blobs than in the weight file",
    "W721": "a blob with another shape than in the weight file",
    "W722": "a transplant into a layer that the net does not have",
    "W723": "a transplant from a layer that the weight file does not have",
    # F: files that are missing
    "F101": "a prototxt that is not there",
    "F102": "a path that is not a regular file",
    "F103": "a name that is neither a file nor a net that comes with netc",
    "F110": "a weight file that is not there",
    "F140": "a list, folder or database given to a tool does not exist",
    "F900": "a file or folder that the system was asked for does not exist",
    # O: output that cannot be written
    "O140": "the database exists already",
    "O141": "another process is building the database",
    "O142": "the database's folder cannot be made",
    "O900": "the system does not let netc write here",
    # X: I/O errors
    "X101": "a prototxt that cannot be read",
    "X110": "a weight file that cannot be read",
    "X140": "writing a database or file failed, or the disk is full",
    "X900": "the system reports an I/O error",
    # C: command line
    "C101": "a phase that is neither TRAIN nor TEST",
    "C201": "a GPU that this machine does not have",
    "C202": "a list of GPUs that cannot be read",
    "C140": "options of a tool that contradict one another or do not exist",
}
