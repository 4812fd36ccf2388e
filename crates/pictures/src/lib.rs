//! Grids, films, plots and report pages.
