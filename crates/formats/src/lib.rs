//! Files that Sumi reads and writes: safetensors, torch pickles, npz, IDX, CIFAR-10 binaries.
