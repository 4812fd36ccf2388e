//! Winograd's convolution F(4x4, 3x3) (Lavin and Gray 2015, Fast Algorithms for Convolutional
//! Neural Networks, section 4): `Y = A^T [(G g G^T) * (B^T d B)] A`, 36 multiplications for a tile
//! of 4x4 outputs where the direct way takes 144.
//!
//! Each of a tile's 36 components is a matrix product of its own over the channels:
//! `[tiles, inputs] [inputs, outputs]`.

mod kernel;
mod pass;
mod tiles;
mod transform;
mod weights;

pub(crate) use pass::{forward, input_gradient};
pub(crate) use weights::weight_gradient;

/// Pixels to a side of a tile of the output.
const TILE: usize = 4;
/// Pixels to a side of what such a tile sees.
const SEEN: usize = 6;
/// Components of a transformed tile.
const PARTS: usize = SEEN * SEEN;
/// Output channels to a panel.
const PANEL: usize = 32;

/// The distance between two of a transformed tile's components where each takes `len` numbers: not
/// a multiple of a page, or all of them would fall on the same few places of the cache.
fn spread(len: usize) -> usize {
    len.next_multiple_of(16) + 16
}
