//! Time grids, samplers and guidance, generic over the state they move.
