//! Whether a network is being trained or used.

use sumi_random::Philox;

/// One pass through a network.
#[derive(Clone, Debug)]
pub enum Pass {
    /// Use: nothing is random.
    Inference,
    /// Training: dropout draws its masks from this stream.
    Training(Philox),
}
