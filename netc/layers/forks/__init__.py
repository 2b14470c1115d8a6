"""Layer types that only forks of Caffe have, one file each."""
