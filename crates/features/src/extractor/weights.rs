//! Where weights usually lie.

use super::Kind;
use crate::{FeatureError, Result};
use std::path::PathBuf;

/// The file of FID's Inception-v3 as pytorch-fid publishes it.
const INCEPTION: &str = "pt_inception-2015-12-05-6726825d.pth";
/// The same weights as torch-fidelity publishes them.
const INCEPTION_FIDELITY: &str = "weights-inception-2015-12-05-6726825d.pth";
const EFFICIENTNET: &str = "efficientnet-lite0-57934424.pth";

/// The weights of a network, from where the programs that fetch them leave them.
///
/// Inception: the `checkpoints` of `torch.hub` (`$TORCH_HOME/hub`, `$XDG_CACHE_HOME/torch/hub`, `~/.cache/torch/hub`) and
/// the folder at hand. EfficientNet-Lite0: `data/efficientnet-lite0`, where `cargo xtask data efficientnet-lite0` puts it.
///
/// # Errors
/// None there: where they were looked for, and how to get them.
pub fn find_weights(kind: Kind) -> Result<PathBuf> {
    let (names, folders, advice) = match kind {
        Kind::Inception => (
            &[INCEPTION, INCEPTION_FIDELITY][..],
            inception_folders(),
            "give its path to --features, or choose --features efficientnet-lite0, clip or pixels",
        ),
        Kind::EfficientNetLite0 => (
            &[EFFICIENTNET][..],
            vec!["data/efficientnet-lite0".into(), ".".into()],
            "fetch it with `cargo xtask data efficientnet-lite0`, or give its path to --features",
        ),
        Kind::Clip | Kind::Pixels => {
            (&[][..], Vec::new(), "give the folder of a CLIPModel to --clip")
        }
    };
    let candidates = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let looked: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
        let name = names.first().copied().unwrap_or("CLIP's weights");
        let what = format!("expected {name} in {}, found none; {advice}", looked.join(", "));
        FeatureError::Weights { what }
    })
}

fn inception_folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    let cache = variable("XDG_CACHE_HOME").or_else(|| home.map(|home| home.join(".cache")));
    let torch = variable("TORCH_HOME").or_else(|| cache.map(|cache| cache.join("torch")));
    torch.map(|torch| torch.join("hub/checkpoints")).into_iter().chain([".".into()]).collect()
}
