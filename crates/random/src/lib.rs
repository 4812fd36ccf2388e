//! Reproducible noise: PyTorch-compatible generators and counter-based streams, one per sample.
