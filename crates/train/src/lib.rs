//! Losses, the training step, the loop, exponential moving averages and checkpoints.
