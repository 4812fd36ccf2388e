//! Progress bars: on stderr, and silent where that is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `length` of something; `message` stands at its end.
pub fn bar(name: &'static str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_prefix(name);
    let style = ProgressStyle::with_template(
        "{prefix:>9} [{bar:32}] {pos}/{len}  {msg}  {elapsed} gone, {eta} left",
    );
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
    bar
}
