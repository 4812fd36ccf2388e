//! Where training pictures come from, and a loader whose position can be saved.
