//! Report pages: one HTML file that needs nothing else, with no script and no request to anywhere.

use std::{fmt::Write as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{Picture, PictureError};
use sumi_formats::atomic;

/// A page: a title, a lead paragraph, sections.
///
/// Every text that goes in is escaped: a caption can hold `<`, `&` or quotes.
///
/// ```
/// use sumi_pictures::report::{Page, Table};
///
/// let mut page = Page::new("Digits");
/// page.lead("A model of handwriting, trained in two minutes.");
/// let section = page.section("Results");
/// section.paragraph("Lower is better.");
/// section.table(Table::new(["split", "distance"]).row(["held out", "1.31"]));
/// assert!(page.render().starts_with("<!doctype html>"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Page {
    title: String,
    lead: Option<String>,
    sections: Vec<Section>,
    footer: Option<String>,
}

impl Page {
    /// An empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Sets the paragraph under the title.
    pub fn lead(&mut self, text: impl Into<String>) -> &mut Self {
        self.lead = Some(text.into());
        self
    }

    /// Sets the small print at the end.
    pub fn footer(&mut self, text: impl Into<String>) -> &mut Self {
        self.footer = Some(text.into());
        self
    }

    /// Opens a section, which is then filled.
    pub fn section(&mut self, heading: impl Into<String>) -> &mut Section {
        self.sections.push(Section { heading: heading.into(), blocks: Vec::new() });
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }

    /// The page as one HTML document.
    pub fn render(&self) -> String {
        let mut html = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n");
        html.push_str("<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        html.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n");
        element(&mut html, "title", &self.title);
        html.push_str("<style>\n");
        html.push_str(include_str!("report.css"));
        html.push_str("</style>\n</head>\n<body>\n<main>\n<header>\n");
        element(&mut html, "h1", &self.title);
        if let Some(lead) = &self.lead {
            html.push_str("<p class=\"lead\">");
            html.push_str(&escaped(lead));
            html.push_str("</p>\n");
        }
        html.push_str("</header>\n");
        for section in &self.sections {
            html.push_str("<section>\n");
            element(&mut html, "h2", &section.heading);
            for block in &section.blocks {
                block.render(&mut html);
            }
            html.push_str("</section>\n");
        }
        if let Some(footer) = &self.footer {
            element(&mut html, "footer", footer);
        }
        html.push_str("</main>\n</body>\n</html>\n");
        html
    }

    /// Writes the page as an HTML file, whole or not at all.
    ///
    /// # Errors
    /// [`PictureError::Io`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), PictureError> {
        Ok(atomic::write_bytes(path.as_ref(), self.render().as_bytes())?)
    }
}

/// A heading and what stands under it, in the order in which it is added.
#[derive(Debug, Clone)]
pub struct Section {
    heading: String,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
enum Block {
    Paragraph(String),
    Table(Table),
    Figures(Vec<Figure>),
    Definitions(Vec<(String, String)>),
    Code(String),
    Note(String),
    Warning(String),
}

impl Section {
    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Paragraph(text.into()))
    }

    /// Adds a table.
    pub fn table(&mut self, table: Table) -> &mut Self {
        self.add(Block::Table(table))
    }

    /// Adds a figure.
    pub fn figure(&mut self, figure: Figure) -> &mut Self {
        self.add(Block::Figures(vec![figure]))
    }

    /// Adds figures that stand next to each other where the page is wide enough.
    pub fn figures(&mut self, figures: impl IntoIterator<Item = Figure>) -> &mut Self {
        self.add(Block::Figures(figures.into_iter().collect()))
    }

    /// Adds a list of terms, each with what is said of it.
    pub fn definitions<T: Into<String>, D: Into<String>>(
        &mut self,
        pairs: impl IntoIterator<Item = (T, D)>,
    ) -> &mut Self {
        let pairs = pairs.into_iter().map(|(t, d)| (t.into(), d.into()));
        self.add(Block::Definitions(pairs.collect()))
    }

    /// Adds a block of code or commands.
    pub fn code(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Code(text.into()))
    }

    /// Adds a remark beside the main line of the text.
    pub fn note(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Note(text.into()))
    }

    /// Adds a remark that must not be missed.
    pub fn warning(&mut self, text: impl Into<String>) -> &mut Self {
        self.add(Block::Warning(text.into()))
    }

    fn add(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }
}

/// A table; a column of numbers is set flush right.
#[derive(Debug, Clone, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    caption: Option<String>,
}

impl Table {
    /// A table with a header and no rows yet.
    pub fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a row; missing cells are left empty.
    #[must_use]
    pub fn row<T: Into<String>>(mut self, cells: impl IntoIterator<Item = T>) -> Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    /// Sets a line of text under the table.
    #[must_use]
    pub fn caption(mut self, text: impl Into<String>) -> Self {
        self.caption = Some(text.into());
        self
    }

    fn columns(&self) -> usize {
        let rows = self.rows.iter().map(Vec::len);
        rows.chain([self.header.len()]).max().unwrap_or(0)
    }

    fn is_number_column(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column));
        let mut filled = cells.by_ref().filter(|cell| !cell.is_empty()).peekable();
        filled.peek().is_some() && filled.all(|cell| is_number(cell))
    }

    fn render(&self, html: &mut String) {
        let numbers: Vec<bool> =
            (0..self.columns()).map(|column| self.is_number_column(column)).collect();
        let write_row = |html: &mut String, tag: &str, cells: &[String]| {
            html.push_str("<tr>");
            for (column, &number) in numbers.iter().enumerate() {
                let class = if number { " class=\"number\"" } else { "" };
                let text = escaped(cells.get(column).map_or("", String::as_str));
                html.push_str(&format!("<{tag}{class}>{text}</{tag}>"));
            }
            html.push_str("</tr>\n");
        };
        html.push_str("<figure class=\"table\">\n<table>\n<thead>\n");
        write_row(html, "th", &self.header);
        html.push_str("</thead>\n<tbody>\n");
        for row in &self.rows {
            write_row(html, "td", row);
        }
        html.push_str("</tbody>\n</table>\n");
        write_caption(html, self.caption.as_deref());
        html.push_str("</figure>\n");
    }
}

/// A PNG or GIF inside the page.
#[derive(Debug, Clone)]
pub struct Figure {
    media: &'static str,
    bytes: Vec<u8>,
    size: (u32, u32),
    alt: String,
    caption: Option<String>,
    width_px: Option<usize>,
    keep_width: bool,
}

impl Figure {
    /// A figure from the bytes of a PNG or GIF; `alt` says what it shows to those who cannot see it.
    ///
    /// # Errors
    /// [`PictureError::NotAnImage`] when the bytes are neither.
    pub fn new(bytes: impl Into<Vec<u8>>, alt: impl Into<String>) -> Result<Self, PictureError> {
        let bytes = bytes.into();
        let media = match bytes.as_slice() {
            [0x89, b'P', b'N', b'G', ..] => "image/png",
            [b'G', b'I', b'F', b'8', ..] => "image/gif",
            _ => return Err(not_an_image(&bytes)),
        };
        let reader = image::ImageReader::new(std::io::Cursor::new(&bytes));
        let size = reader
            .with_guessed_format()
            .ok()
            .and_then(|reader| reader.into_dimensions().ok())
            .ok_or_else(|| not_an_image(&bytes))?;
        Ok(Self {
            media,
            bytes,
            size,
            alt: alt.into(),
            caption: None,
            width_px: None,
            keep_width: false,
        })
    }

    /// A figure from a picture, as PNG.
    ///
    /// # Errors
    /// None that a [`Picture`] made with its own constructors can meet.
    pub fn picture(picture: &Picture, alt: impl Into<String>) -> Result<Self, PictureError> {
        Self::new(picture.png_bytes(), alt)
    }

    /// Sets the text under the figure.
    #[must_use]
    pub fn caption(mut self, text: impl Into<String>) -> Self {
        self.caption = Some(text.into());
        self
    }

    /// Shows the figure this wide (and less on a small screen) instead of pixel for pixel: a small film can be
    /// embedded as it is and enlarged by the reader's browser, with hard edges.
    #[must_use]
    pub fn width_px(mut self, width_px: usize) -> Self {
        self.width_px = Some(width_px);
        self
    }

    /// Lets a small screen scroll along the figure instead of shrinking it: for plots, whose words must stay readable.
    #[must_use]
    pub fn keep_width(mut self) -> Self {
        self.keep_width = true;
        self
    }

    fn render(&self, html: &mut String) {
        let (natural_width, natural_height) = self.size;
        let width = self.width_px.unwrap_or(natural_width as usize);
        let height = width * natural_height as usize / (natural_width as usize).max(1);
        // Enlarged pixels keep hard edges; anything else is scaled smoothly, above all where a small screen shrinks it.
        let enlarged = (width > natural_width as usize).then_some("enlarged");
        let kept = self.keep_width.then_some("kept");
        let classes: Vec<&str> = enlarged.into_iter().chain(kept).collect();
        let class = match classes.is_empty() {
            true => String::new(),
            false => format!(" class=\"{}\"", classes.join(" ")),
        };
        let (media, alt) = (self.media, escaped(&self.alt));
        let data = BASE64.encode(&self.bytes);
        html.push_str(&format!(
            "<figure>\n<img{class} width=\"{width}\" height=\"{height}\" alt=\"{alt}\" src=\"data:{media};base64,{data}\">\n"
        ));
        write_caption(html, self.caption.as_deref());
        html.push_str("</figure>\n");
    }
}

fn not_an_image(bytes: &[u8]) -> PictureError {
    let start = &bytes[..bytes.len().min(8)];
    PictureError::NotAnImage {
        expected: "PNG or GIF",
        found: format!("{} bytes that begin with {start:02x?}", bytes.len()),
    }
}

impl Block {
    fn render(&self, html: &mut String) {
        match self {
            Self::Paragraph(text) => element(html, "p", text),
            Self::Table(table) => table.render(html),
            Self::Figures(figures) => {
                html.push_str("<div class=\"figures\">\n");
                figures.iter().for_each(|figure| figure.render(html));
                html.push_str("</div>\n");
            }
            Self::Definitions(pairs) => {
                html.push_str("<dl>\n");
                for (term, description) in pairs {
                    element(html, "dt", term);
                    element(html, "dd", description);
                }
                html.push_str("</dl>\n");
            }
            Self::Code(text) => {
                html.push_str(&format!("<pre><code>{}</code></pre>\n", escaped(text)))
            }
            Self::Note(text) => aside(html, "note", "Note", text),
            Self::Warning(text) => aside(html, "warning", "Warning", text),
        }
    }
}

fn aside(html: &mut String, class: &str, name: &str, text: &str) {
    let text = escaped(text);
    html.push_str(&format!("<aside class=\"{class}\"><strong>{name}</strong> {text}</aside>\n"));
}

fn write_caption(html: &mut String, caption: Option<&str>) {
    if let Some(caption) = caption {
        element(html, "figcaption", caption);
    }
}

fn element(html: &mut String, tag: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(html, "<{tag}>{}</{tag}>", escaped(text));
}

/// Text made safe between tags and inside quoted attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// Whether a cell reads as a number, perhaps with a sign, thousands separators and a unit after it.
fn is_number(cell: &str) -> bool {
    let text = cell.trim().trim_start_matches(['-', '+', '−', '±', '<', '>', '≈', '~']);
    text.trim_start().starts_with(|c: char| c.is_ascii_digit())
        || matches!(text, "inf" | "NaN" | "nan" | "–" | "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        let evil = "<script>alert('1 & \"2\"')</script>";
        let picture = Picture::new(1, 1, 1, vec![0]).unwrap();
        let mut page = Page::new(evil);
        page.lead(evil).footer(evil);
        page.section(evil)
            .paragraph(evil)
            .table(Table::new([evil]).row([evil]).caption(evil))
            .figure(Figure::picture(&picture, evil).unwrap().caption(evil))
            .definitions([(evil, evil)])
            .code(evil)
            .note(evil)
            .warning(evil);
        let html = page.render();
        let safe = "&lt;script&gt;alert(&#39;1 &amp; &quot;2&quot;&#39;)&lt;/script&gt;";
        assert!(!html.contains("<script"));
        assert_eq!(html.matches(safe).count(), 16);
    }

    #[test]
    fn the_page_asks_nothing_of_the_network() {
        let picture = Picture::new(1, 1, 3, vec![0; 3]).unwrap();
        let mut page = Page::new("t");
        page.section("s").figure(Figure::picture(&picture, "a").unwrap());
        let html = page.render();
        for word in ["http:", "https:", "//", "<link", "<script", "@import", "url("] {
            let outside_base64 = html.split("base64,").next().unwrap();
            assert!(!outside_base64.contains(word), "{word}");
        }
    }

    #[test]
    fn figures_decode_back_and_say_their_size() {
        let picture = Picture::new(2, 4, 1, (0..8).collect()).unwrap();
        let figure = Figure::picture(&picture, "eight levels").unwrap().width_px(40);
        let mut html = String::new();
        figure.render(&mut html);
        assert!(html.contains("<img class=\"enlarged\" "), "{html}");
        assert!(html.contains("width=\"40\" height=\"20\" alt=\"eight levels\""), "{html}");
        let data = html.split("base64,").nth(1).unwrap();
        let bytes = BASE64.decode(data.split('"').next().unwrap()).unwrap();
        assert_eq!(bytes, picture.png_bytes());
        assert!(Figure::new(*b"JPEG", "x").is_err());
        assert!(Figure::new(*b"\x89PNG", "cut").is_err());
    }

    #[test]
    fn number_columns_are_flush_right() {
        let table = Table::new(["name", "value", "mixed"])
            .row(["1,797 digits?", "", "3"])
            .row(["b", "-1.5e-3", "three"])
            .row(["c", "97.8 %", "4"])
            .row(["d"]);
        assert_eq!([0, 1, 2].map(|c| table.is_number_column(c)), [false, true, false]);
        let mut html = String::new();
        table.render(&mut html);
        assert_eq!(html.matches("<th").count() - 1, 3, "and <thead>");
        assert_eq!(html.matches("<td").count(), 12);
        for number in ["1,797", "−3", "± 0.2", "1.31x", "0.5 s", "nan"] {
            assert!(is_number(number), "{number}");
        }
        for word in ["", "–"] {
            assert!(is_number(word));
        }
        assert!(!is_number("AdamW") && !is_number("x 2"));
    }

    #[test]
    fn the_file_is_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        let page = Page::new("t");
        page.write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), page.render());
    }
}
