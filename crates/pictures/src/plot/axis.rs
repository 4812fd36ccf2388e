//! From values to pixels, and the round numbers between.

use crate::text::BODY;

/// Values beyond this are gaps: the span of two of them must not overflow.
pub(super) const LARGEST: f64 = 1e300;

/// The range that an axis shows, linear or logarithmic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// A range that holds all `values` with a little room; 0 to 1 (or 1 to 10) when there are none.
    pub(super) fn around(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let bounds = values.fold(None, |bounds: Option<(f64, f64)>, value| {
            let (low, high) = bounds.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        let (low, high) = match (bounds, log) {
            (None, false) => {
                return Self { low: 0.0, high: 1.0, log };
            }
            (None, true) => {
                return Self { low: 1.0, high: 10.0, log };
            }
            (Some(bounds), false) => bounds,
            (Some((low, high)), true) => (low.log10(), high.log10()),
        };
        let span = high - low;
        let size = low.abs().max(high.abs());
        let (low, high) = if span <= size * 1e-9 || span == 0.0 {
            let room = if log || size == 0.0 { 0.5 } else { size / 2.0 };
            (low - room, high + room)
        } else if !log && low >= 0.0 && low < 0.3 * high {
            (0.0, high + 0.04 * span)
        } else {
            (low - 0.04 * span, high + 0.04 * span)
        };
        match log {
            true => Self { low: 10f64.powf(low), high: 10f64.powf(high), log },
            false => Self { low, high, log },
        }
    }

    /// Where `value` lies: 0 at the low end, 1 at the high.
    fn fraction(&self, value: f64) -> f64 {
        match self.log {
            true => (value / self.low).log10() / (self.high / self.low).log10(),
            false => (value - self.low) / (self.high - self.low),
        }
    }

    /// About `count` round numbers, each with its label.
    fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let decades = (self.high / self.low).log10();
        if self.log && decades >= 1.0 {
            self.decade_ticks(decades, count)
        } else {
            self.even_ticks(count)
        }
    }

    /// Powers of ten, with 2 to 9 between them where there is room: labelled at 2 and 5, or not at all.
    fn decade_ticks(&self, decades: f64, count: usize) -> Vec<(f64, String)> {
        let (low, high) = (self.low.log10(), self.high.log10());
        let (from, to) = (low.floor() as i32, high.ceil() as i32);
        let stride = (decades / count as f64).ceil().max(1.0) as i32;
        let plain = from >= -4 && to <= 5;
        let digits = if stride == 1 && decades < 7.0 { 9 } else { 1 };
        (from..=to)
            .filter(|power| power.rem_euclid(stride) == 0)
            .flat_map(|power| (1..=digits).map(move |digit| (digit, power)))
            .map(|(digit, power)| {
                let is_labelled = digit == 1 || matches!(digit, 2 | 5) && decades < 2.0;
                let label = is_labelled.then(|| power_label(digit, power, plain));
                let value = f64::from(digit) * 10f64.powi(power);
                (value, label.unwrap_or_default())
            })
            .filter(|(value, _)| (self.low..=self.high).contains(value))
            .collect()
    }

    /// Multiples of 1, 2 or 5 times a power of ten.
    fn even_ticks(&self, count: usize) -> Vec<(f64, String)> {
        let step = round_step((self.high - self.low) / count.max(1) as f64);
        let (from, to) = ((self.low / step).ceil(), (self.high / step).floor());
        let largest = self.low.abs().max(self.high.abs());
        (0..=(to - from).clamp(0.0, 1000.0) as usize)
            .map(|index| (from + index as f64) * step)
            .map(|value| (value, even_label(value, step, largest)))
            .collect()
    }
}

/// The 1, 2 or 5 times a power of ten that is nearest to `rough` in ratio.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let digit = match rough / power {
        ratio if ratio < 2f64.sqrt() => 1.0,
        ratio if ratio < 10f64.sqrt() => 2.0,
        ratio if ratio < 50f64.sqrt() => 5.0,
        _ => 10.0,
    };
    digit * power
}

/// `0.01` and `1,000` where `plain`, else `10⁻⁵`.
fn power_label(digit: i32, power: i32, plain: bool) -> String {
    if plain {
        let decimals = usize::try_from(-power).unwrap_or(0);
        let value = f64::from(digit) * 10f64.powi(power);
        return grouped(&format!("{value:.decimals$}"));
    }
    match digit {
        1 => format!("10{}", raised(power)),
        _ => format!("{digit}×10{}", raised(power)),
    }
}

/// A label with as many decimals as `step` needs; in powers of ten where plain digits would be many.
fn even_label(value: f64, step: f64, largest: f64) -> String {
    let step_power = (step * 1.000001).log10().floor() as i32;
    if value == 0.0 {
        return "0".into();
    }
    if step_power < -4 || largest >= 1e7 {
        let power = largest.log10().floor() as i32;
        let decimals = usize::try_from(power - step_power).unwrap_or(0).min(12);
        let mantissa = value / 10f64.powi(power);
        return format!("{mantissa:.decimals$}×10{}", raised(power));
    }
    let decimals = usize::try_from(-step_power).unwrap_or(0);
    grouped(&format!("{value:.decimals$}"))
}

/// Commas between thousands of the whole part.
fn grouped(number: &str) -> String {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut out = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

fn raised(power: i32) -> String {
    let raise = |c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    };
    power.to_string().chars().map(raise).collect()
}

/// A tick at its pixel; one without a label is a minor one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) at_px: i32,
    pub(super) label: String,
}

/// A scale laid along pixels; `start_px` shows the low end and may be the larger number.
#[derive(Debug)]
pub(super) struct Axis {
    scale: Scale,
    pub(super) start_px: i32,
    pub(super) end_px: i32,
    pub(super) ticks: Vec<Tick>,
}

impl Axis {
    /// Lays `scale` from `start_px` to `end_px` with ticks about `spacing_px` apart.
    pub(super) fn new(scale: &Scale, start_px: i32, end_px: i32, spacing_px: u32) -> Self {
        let mut axis = Self { scale: *scale, start_px, end_px, ticks: Vec::new() };
        let count = (start_px.abs_diff(end_px) / spacing_px).max(2) as usize;
        let ticks = scale.ticks(count).into_iter();
        axis.ticks = ticks
            .map(|(value, label)| Tick { at_px: axis.place(value).round() as i32, label })
            .collect();
        axis
    }

    /// Puts a name at 0, 1, 2 and so on, in place of the numbers; as many as there is room for.
    pub(super) fn name_ticks(&mut self, names: &[String]) {
        let room = f64::from(self.length_px()) / names.len().max(1) as f64;
        let widest = names.iter().map(|name| BODY.width_px(name)).max().unwrap_or(0) as f64 + 6.0;
        let (every, cut) = match widest <= room || room >= 40.0 {
            true => (1, room as usize),
            false => ((40.0f64.min(widest) / room).ceil() as usize, 40),
        };
        let named = names.iter().enumerate().step_by(every.max(1));
        self.ticks = named
            .map(|(index, name)| Tick {
                at_px: self.place(index as f64).round() as i32,
                label: BODY.fit(name, cut.saturating_sub(4)),
            })
            .collect();
    }

    /// Pixels from end to end.
    pub(super) fn length_px(&self) -> i32 {
        (self.end_px - self.start_px).abs()
    }

    /// The pixel of a value, with its fraction.
    pub(super) fn place(&self, value: f64) -> f64 {
        let (start, end) = (f64::from(self.start_px), f64::from(self.end_px));
        start + self.scale.fraction(value) * (end - start)
    }

    /// Width of the widest tick label.
    pub(super) fn widest_label_px(&self) -> i32 {
        let widths = self.ticks.iter().map(|tick| BODY.width_px(&tick.label));
        widths.max().unwrap_or(0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: [f64; 2], log: bool, count: usize) -> Vec<String> {
        let ticks = Scale::around(values.into_iter(), log).ticks(count);
        let labels = ticks.into_iter().map(|(_, label)| label);
        labels.filter(|label| !label.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            labels([0.0, 1240.0], false, 8),
            ["0", "200", "400", "600", "800", "1,000", "1,200"]
        );
        assert_eq!(labels([0.02, 1.0], false, 5), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels([-10.1, 9.2], false, 5), ["-10", "-5", "0", "5"]);
        assert_eq!(labels([1.0, 2e7], false, 4), ["0", "0.5×10⁷", "1.0×10⁷", "1.5×10⁷", "2.0×10⁷"]);
        assert_eq!(labels([0.0, 3e-7], false, 3), ["0", "1×10⁻⁷", "2×10⁻⁷", "3×10⁻⁷"]);
        assert_eq!(labels([5.0, 5.0], false, 4), ["3", "4", "5", "6", "7"]);
    }

    #[test]
    fn logarithmic_ticks_are_powers_of_ten() {
        assert_eq!(labels([1e-3, 1.0], true, 5), ["0.001", "0.01", "0.1", "1"]);
        assert_eq!(labels([1e-6, 1e-4], true, 5), ["10⁻⁶", "10⁻⁵", "10⁻⁴"]);
        assert_eq!(labels([0.02, 0.5], true, 6), ["0.02", "0.05", "0.1", "0.2", "0.5"]);
        assert_eq!(labels([0.2, 0.4], true, 3), ["0.2", "0.3", "0.4"]);
        assert!(labels([1e-200, 1e200], true, 6).len() <= 7);
    }

    #[test]
    fn every_value_lies_within_its_axis() {
        for log in [false, true] {
            let values = [0.013, 7.9, 512.0];
            let axis = Axis::new(&Scale::around(values.into_iter(), log), 300, 20, 40);
            for value in values {
                assert!((20.0..=300.0).contains(&axis.place(value)));
            }
            let ends = [values[0], values[2]].map(|value| axis.place(value));
            assert!(ends[0] > ends[1], "low values lie at the start");
        }
    }

    #[test]
    fn thousands_are_grouped() {
        let numbers = ["0", "999", "-1000", "1234567.25"].map(grouped);
        assert_eq!(numbers, ["0", "999", "-1,000", "1,234,567.25"]);
    }
}
