//! Oracles, tolerances and golden files for the tests of the other crates.
