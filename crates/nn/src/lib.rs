//! Layers that every network shares.
