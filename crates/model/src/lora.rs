//! From the adapters of files to those beside a network's layers.

use crate::ModelError;
use sumi_formats::FormatError;
use sumi_formats::lora::{Matched, Part, Resolved, Targets};
use sumi_nn::{AdapterValues, Layers, attach, layer_shapes};

/// Adds the layers of one network to those that a LoRA is held against.
pub fn lora_targets<N: Layers>(targets: &mut Targets, part: Part, network: &N) {
    targets.add(part, layer_shapes(network));
}

/// Puts what a LoRA has for one part of a model beside that network's layers, `weight` times, and
/// says beside how many. [`sumi_nn::merge`] folds it in, [`sumi_nn::detach`] takes it away.
///
/// As `set_adapters` of diffusers does, the weight is part of the scale, also within the norm of a
/// DoRA. Several LoRAs act in the order in which they are attached, which matters where one has
/// magnitudes.
///
/// # Errors
/// Numbers that are not finite; adapters that were resolved against another network, of which some
/// may then be attached already.
pub fn attach_lora<N: Layers>(
    network: &mut N,
    part: Part,
    resolved: &Resolved,
    weight: f64,
) -> Result<usize, ModelError> {
    let own = resolved.matched.iter().filter(|matched| matched.part == part);
    let adapters = own
        .map(|matched| Ok((matched.module.clone(), adapter_values(matched, weight)?)))
        .collect::<Result<Vec<_>, FormatError>>()?;
    let count = adapters.len();
    attach(network, adapters)?;
    Ok(count)
}

/// The numbers of an adapter for its layer, `weight` times.
///
/// # Errors
/// Numbers that are not finite.
pub fn adapter_values(matched: &Matched, weight: f64) -> Result<AdapterValues, FormatError> {
    let values = matched.values()?;
    Ok(AdapterValues {
        rank: values.rank,
        down: values.down,
        up: values.up,
        magnitude: values.magnitude,
        scale: values.scale * weight,
    })
}
