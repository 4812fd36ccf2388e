//! Many pictures on one sheet.

use crate::{
    Picture, PictureError,
    error::within,
    text::{BODY, TITLE},
};

/// Gutters and backgrounds.
const PAPER: u8 = 255;
/// Labels and captions.
const INK: [u8; 3] = [38; 3];
/// Space between text and what it names.
const TEXT_GAP_PX: usize = 6;
/// Space between the parts of [`side_by_side`].
const PART_GAP_PX: usize = 24;

/// How a grid is laid out; `..Default::default()` leaves out what it does not need.
#[derive(Debug, Clone)]
pub struct GridOptions {
    /// Pictures in a row.
    pub columns: usize,
    /// Each pixel becomes a square of this many.
    pub scale: usize,
    /// White space between pictures and around them.
    pub gap_px: usize,
    /// One label for each row, left of it; empty for none.
    pub row_labels: Vec<String>,
    /// One label for each column, above it; empty for none.
    pub column_labels: Vec<String>,
    /// A heading above everything.
    pub title: Option<String>,
}

impl Default for GridOptions {
    fn default() -> Self {
        Self {
            columns: 10,
            scale: 1,
            gap_px: 2,
            row_labels: Vec::new(),
            column_labels: Vec::new(),
            title: None,
        }
    }
}

/// In which order to lay out pictures of these classes so that every row is one class, and in how
/// many columns. Without classes the order stays and the sheet is as square as it can be.
///
/// ```
/// use sumi_pictures::sheet_layout;
///
/// assert_eq!(sheet_layout(&[0, 1, 0, 1, 0, 1], 6), (vec![0, 2, 4, 1, 3, 5], 3));
/// assert_eq!(sheet_layout(&[], 9).1, 3);
/// // Classes of different sizes cannot be rows.
/// assert_eq!(sheet_layout(&[0, 0, 0, 1], 4), (vec![0, 1, 2, 3], 2));
/// ```
pub fn sheet_layout(classes: &[u32], count: usize) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..count).collect();
    let square = (count as f64).sqrt().ceil() as usize;
    let mut sizes = std::collections::BTreeMap::new();
    for class in classes {
        *sizes.entry(class).or_insert(0_usize) += 1;
    }
    let first = sizes.values().next().copied().unwrap_or(0);
    let rows = sizes.len() > 1 && classes.len() == count && sizes.values().all(|&n| n == first);
    if !rows {
        return (order, square.max(1));
    }
    order.sort_by_key(|&i| classes[i]);
    (order, first)
}

/// Lays out pictures row by row on white paper, with `gap_px` between them and around them.
///
/// The sheet is `rows * (h * scale + gap) + gap` high, and as wide in the same way; it is grey when every
/// picture is. See [`GridOptions::draw`] for labels.
///
/// # Errors
/// As [`GridOptions::draw`].
///
/// ```
/// use sumi_pictures::{Picture, grid};
///
/// let dot = Picture::new(1, 1, 1, vec![0])?;
/// let sheet = grid(&[dot.clone(), dot], 2, 1, 1)?;
/// assert_eq!(sheet.pixels[5..10], [255, 0, 255, 0, 255]);
/// # Ok::<(), sumi_pictures::PictureError>(())
/// ```
pub fn grid(
    pictures: &[Picture],
    columns: usize,
    scale: usize,
    gap_px: usize,
) -> Result<Picture, PictureError> {
    let options = GridOptions { columns, scale, gap_px, ..GridOptions::default() };
    options.draw(pictures)
}

impl GridOptions {
    /// Draws the grid: title above, column labels centred above their columns, row labels left of their rows.
    ///
    /// # Errors
    /// No pictures, pictures of different sizes, zero columns or scale, labels that do not match in number.
    pub fn draw(&self, pictures: &[Picture]) -> Result<Picture, PictureError> {
        let first = pictures.first().ok_or(PictureError::Empty { what: "a grid" })?;
        same_size(pictures)?;
        within("a grid's columns", self.columns, 1, 1 << 16)?;
        within("a grid's scale", self.scale, 1, 1 << 10)?;
        within("a grid's gap", self.gap_px, 0, 1 << 10)?;
        let rows = pictures.len().div_ceil(self.columns);
        matching("row labels", &self.row_labels, rows)?;
        matching("column labels", &self.column_labels, self.columns)?;

        let cell =
            (first.height_px * self.scale + self.gap_px, first.width_px * self.scale + self.gap_px);
        let (top, left) = self.header_px();
        let title_px = match &self.title {
            Some(title) => TITLE.width_px(title) + 2 * TEXT_GAP_PX,
            None => 0,
        };
        let width = (left + self.columns * cell.1 + self.gap_px).max(title_px);
        let height = top + rows * cell.0 + self.gap_px;
        let mut sheet = Picture::filled(height, width, most_channels(pictures), PAPER)?;

        for (index, picture) in pictures.iter().enumerate() {
            let (row, column) = (index / self.columns, index % self.columns);
            let (y, x) = (top + row * cell.0, left + column * cell.1);
            sheet.paste(&picture.scaled(self.scale), y + self.gap_px, x + self.gap_px);
        }
        self.write_labels(&mut sheet, (top, left), cell);
        Ok(sheet)
    }

    /// Height of what stands above the pictures, width of what stands left of them.
    fn header_px(&self) -> (usize, usize) {
        let title = match self.title {
            Some(_) => TITLE.height_px() + 2 * TEXT_GAP_PX,
            None => 0,
        };
        let columns = match self.column_labels.is_empty() {
            true => 0,
            false => BODY.height_px() + TEXT_GAP_PX,
        };
        let widest = self.row_labels.iter().map(|label| BODY.width_px(label));
        let left = widest.max().map_or(0, |width| width + 2 * TEXT_GAP_PX);
        (title + columns, left)
    }

    fn write_labels(&self, sheet: &mut Picture, (top, left): (usize, usize), cell: (usize, usize)) {
        let gap = self.gap_px;
        if let Some(title) = &self.title {
            TITLE.draw(sheet, title, TEXT_GAP_PX as i32, TEXT_GAP_PX as i32, INK);
        }
        for (column, label) in self.column_labels.iter().enumerate() {
            let label = BODY.fit(label, cell.1);
            let middle = left + column * cell.1 + (cell.1 + gap) / 2;
            let x = middle as i32 - BODY.width_px(&label) as i32 / 2;
            let y = top as i32 - (BODY.height_px() + 2) as i32;
            BODY.draw(sheet, &label, x, y, INK);
        }
        for (row, label) in self.row_labels.iter().enumerate() {
            let middle = top + row * cell.0 + (cell.0 + gap) / 2;
            let x = left as i32 - (TEXT_GAP_PX + BODY.width_px(label)) as i32;
            let y = middle as i32 - BODY.height_px() as i32 / 2;
            BODY.draw(sheet, label, x, y, INK);
        }
    }
}

/// Sets pictures of any size next to each other on white paper, each under its caption.
///
/// # Errors
/// No parts, or a sheet too large to hold.
pub fn side_by_side(parts: &[(&str, Picture)]) -> Result<Picture, PictureError> {
    let what = "a side-by-side sheet";
    let tallest = parts.iter().map(|(_, picture)| picture.height_px).max();
    let tallest = tallest.ok_or(PictureError::Empty { what })?;
    let column =
        |caption: &str, picture: &Picture| picture.width_px.max(BODY.width_px(caption) + 4);
    let width = parts.iter().map(|(caption, picture)| column(caption, picture)).sum::<usize>()
        + PART_GAP_PX * (parts.len() + 1);
    let header = PART_GAP_PX + BODY.height_px();
    let channels = parts.iter().map(|(_, picture)| picture.channels).max();
    let height = header + tallest + PART_GAP_PX;
    let mut sheet = Picture::filled(height, width, channels.unwrap_or(1), PAPER)?;

    let mut x = PART_GAP_PX;
    for (caption, picture) in parts {
        let y = header - BODY.height_px() - TEXT_GAP_PX;
        BODY.draw(&mut sheet, caption, x as i32 + 2, y as i32, INK);
        sheet.paste(picture, header, x);
        x += column(caption, picture) + PART_GAP_PX;
    }
    Ok(sheet)
}

/// Sets pictures of any size below each other on white paper, each at the left.
///
/// # Errors
/// No parts, or a sheet too large to hold.
pub fn stacked(parts: &[Picture]) -> Result<Picture, PictureError> {
    let what = "a stack";
    let width = parts.iter().map(|picture| picture.width_px).max();
    let width = width.ok_or(PictureError::Empty { what })?;
    let height = parts.iter().map(|picture| picture.height_px).sum();
    let mut sheet = Picture::filled(height, width, most_channels(parts), PAPER)?;
    let mut y = 0;
    for picture in parts {
        sheet.paste(picture, y, 0);
        y += picture.height_px;
    }
    Ok(sheet)
}

/// Refuses pictures of more than one size.
pub(crate) fn same_size(pictures: &[Picture]) -> Result<(), PictureError> {
    let size = |picture: &Picture| (picture.height_px, picture.width_px);
    let Some(expected) = pictures.first().map(size) else {
        return Ok(());
    };
    match pictures.iter().position(|picture| size(picture) != expected) {
        Some(index) => {
            Err(PictureError::SizesDiffer { index, expected, found: size(&pictures[index]) })
        }
        None => Ok(()),
    }
}

fn most_channels(pictures: &[Picture]) -> usize {
    pictures.iter().map(|p| p.channels).max().unwrap_or(1)
}

fn matching(what: &'static str, labels: &[String], expected: usize) -> Result<(), PictureError> {
    match labels.len() {
        0 => Ok(()),
        found if found == expected => Ok(()),
        found => Err(PictureError::Labels { what, expected, found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(level: u8) -> Picture {
        Picture::new(1, 2, 1, vec![level; 2]).unwrap()
    }

    #[test]
    fn every_pixel_of_a_small_grid() {
        let sheet = grid(&[flat(1), flat(2), flat(3)], 2, 1, 1).unwrap();
        let w = 255;
        let expected = [
            [w, w, w, w, w, w, w],
            [w, 1, 1, w, 2, 2, w],
            [w, w, w, w, w, w, w],
            [w, 3, 3, w, w, w, w],
            [w, w, w, w, w, w, w],
        ];
        assert_eq!(sheet, Picture::new(5, 7, 1, expected.concat()).unwrap());
    }

    #[test]
    fn scale_and_no_gap() {
        let sheet = grid(&[flat(1), flat(2)], 2, 2, 0).unwrap();
        assert_eq!(sheet.pixels, [[1, 1, 1, 1, 2, 2, 2, 2], [1, 1, 1, 1, 2, 2, 2, 2]].concat());
    }

    #[test]
    fn one_coloured_picture_makes_the_sheet_coloured() {
        let red = Picture::new(1, 2, 3, vec![255, 0, 0, 255, 0, 0]).unwrap();
        let sheet = grid(&[flat(9), red], 2, 1, 0).unwrap();
        assert_eq!(sheet.pixels, [9, 9, 9, 9, 9, 9, 255, 0, 0, 255, 0, 0]);
    }

    #[test]
    fn labels_leave_the_pictures_where_the_plain_grid_has_them() {
        let options = GridOptions {
            columns: 2,
            scale: 8,
            gap_px: 2,
            row_labels: vec!["0".into(), "seven".into()],
            column_labels: vec!["a".into(), "b".into()],
            title: Some("Digits".into()),
        };
        let pictures = [flat(1), flat(2), flat(3), flat(4)];
        let sheet = options.draw(&pictures).unwrap();
        let plain = grid(&pictures, 2, 8, 2).unwrap();
        let (top, left) = options.header_px();
        assert!(top > 0 && left > BODY.width_px("seven"));
        for row in 0..plain.height_px {
            let at = (top + row) * sheet.width_px + left;
            let from = row * plain.width_px;
            let part = &sheet.pixels[at..at + plain.width_px];
            assert_eq!(part, &plain.pixels[from..from + plain.width_px]);
        }
        assert!(sheet.pixels[..top * sheet.width_px].contains(&INK[0]));
    }

    #[test]
    fn bad_grids_are_refused() {
        assert!(grid(&[], 2, 1, 1).is_err());
        assert!(grid(&[flat(1)], 0, 1, 1).is_err());
        assert!(grid(&[flat(1)], 1, 0, 1).is_err());
        let tall = Picture::new(2, 2, 1, vec![0; 4]).unwrap();
        let message = grid(&[flat(1), tall], 2, 1, 1).unwrap_err().to_string();
        assert_eq!(message, "picture 1 is 2x2 pixels, the first is 1x2: all must have one size");
        let options = GridOptions { row_labels: vec!["a".into(); 3], ..GridOptions::default() };
        let message = options.draw(&[flat(1)]).unwrap_err().to_string();
        assert_eq!(message, "3 row labels for 1 of them: give one each, or none");
    }

    #[test]
    fn parts_stand_below_each_other() {
        let wide = Picture::new(1, 3, 1, vec![9; 3]).unwrap();
        let sheet = stacked(&[flat(1), wide]).unwrap();
        assert_eq!(sheet, Picture::new(2, 3, 1, vec![1, 1, 255, 9, 9, 9]).unwrap());
        assert!(stacked(&[]).is_err());
    }

    #[test]
    fn parts_stand_side_by_side_under_their_captions() {
        let dark = Picture::new(2, 40, 1, vec![7; 80]).unwrap();
        let sheet = side_by_side(&[("real", dark.clone()), ("drawn", dark)]).unwrap();
        let y = PART_GAP_PX + BODY.height_px();
        assert_eq!(sheet.height_px, y + 2 + PART_GAP_PX);
        assert_eq!(sheet.width_px, 3 * PART_GAP_PX + 40 + 40);
        let row = &sheet.pixels[y * sheet.width_px..][..sheet.width_px];
        let inked: Vec<usize> = (0..row.len()).filter(|&x| row[x] == 7).collect();
        assert_eq!(inked, (24..64).chain(88..128).collect::<Vec<_>>());
        assert!(side_by_side(&[]).is_err());
    }
}
