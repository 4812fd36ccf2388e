//! The sumi command.
fn main() {}
