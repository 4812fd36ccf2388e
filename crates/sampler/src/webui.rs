//! What the AUTOMATIC1111 WebUI calls samplers and grids, as it writes them into its pictures.

use crate::catalog::Entry;
use crate::{GridKind, SamplerKind};

/// The WebUI's samplers that are in the catalog.
const SAMPLERS: [&str; 15] = [
    "DDIM",
    "DPM++ 2M",
    "DPM++ 2M SDE",
    "DPM++ 2S a",
    "DPM++ 3M SDE",
    "DPM++ SDE",
    "DPM2",
    "DPM2 a",
    "Euler",
    "Euler a",
    "Heun",
    "LCM",
    "LMS",
    "PLMS",
    "UniPC",
];

/// The WebUI's schedule types, with the kind of grid.
const SCHEDULES: [(GridKind, &str); 7] = [
    (GridKind::Karras, "Karras"),
    (GridKind::Exponential, "Exponential"),
    (GridKind::Polyexponential, "Polyexponential"),
    (GridKind::Beta, "Beta"),
    (GridKind::AlignYourSteps, "Align Your Steps"),
    (GridKind::SgmUniform, "SGM Uniform"),
    (GridKind::Simple, "Simple"),
];

impl Entry {
    /// The WebUI's name for it, where it has it.
    pub fn webui(&self) -> Option<&'static str> {
        SAMPLERS.into_iter().find(|name| self.elsewhere.contains(name))
    }
}

impl GridKind {
    /// The WebUI's `Schedule type` for it, where it has it.
    pub fn webui(self) -> Option<&'static str> {
        SCHEDULES.iter().find(|(kind, _)| *kind == self).map(|(_, name)| *name)
    }
}

/// The sampler and the grid of a WebUI's `Sampler` and `Schedule type`; before version 1.9 both stood in
/// the first, as in `DPM++ 2M Karras`.
///
/// ```
/// use sumi_sampler::{GridKind, from_webui};
///
/// let (sampler, grid) = from_webui("DPM++ 2M Karras", None).unwrap();
/// assert_eq!((sampler.name, grid), ("dpmpp_2m", Some(GridKind::Karras)));
/// assert!(from_webui("Restart", None).is_none());
/// ```
pub fn from_webui(
    sampler: &str,
    schedule: Option<&str>,
) -> Option<(SamplerKind, Option<GridKind>)> {
    let suffix = || {
        SCHEDULES.iter().find_map(|&(kind, name)| {
            let rest = sampler.strip_suffix(name)?.strip_suffix(' ')?;
            Some((rest, Some(kind)))
        })
    };
    let named = |wanted: &str| SCHEDULES.iter().find(|(_, name)| *name == wanted);
    let (name, grid) = match schedule.and_then(named) {
        Some((kind, _)) => (sampler, Some(*kind)),
        None => suffix().unwrap_or((sampler, None)),
    };
    let name = SAMPLERS.into_iter().find(|known| *known == name)?;
    Some((SamplerKind::named(name).ok()?, grid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CATALOG;

    #[test]
    fn every_name_is_one_samplers() {
        let found: Vec<_> = CATALOG.iter().filter_map(Entry::webui).collect();
        for name in SAMPLERS {
            assert_eq!(found.iter().filter(|found| **found == name).count(), 1, "{name}");
            let (sampler, grid) = from_webui(name, None).unwrap();
            assert_eq!((sampler.webui(), grid), (Some(name), None));
        }
        for (kind, name) in SCHEDULES {
            assert_eq!(kind.webui(), Some(name));
            assert_eq!(from_webui("Euler a", Some(name)).unwrap().1, Some(kind));
            assert_eq!(from_webui(&format!("DPM++ SDE {name}"), None).unwrap().1, Some(kind));
        }
        assert_eq!(GridKind::Leading.webui(), None);
        assert_eq!(from_webui("LMS", Some("Automatic")).unwrap().1, None);
    }
}
