//! How good the samples are: Frechet distance, spread, nearest neighbours.
