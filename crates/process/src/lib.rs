//! Noise schedules, noise levels, posteriors, predictions and loss weightings, in f64 and without tensors.
