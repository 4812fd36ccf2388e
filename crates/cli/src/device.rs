//! Where to compute.

use crate::args::DeviceName;
use crate::error::CliError;
use burn::tensor::{Device, Tensor};

/// The device of that name, after it has shown that it computes.
///
/// # Errors
/// A device that this build or this machine does not have.
pub fn open(name: DeviceName) -> Result<Device, CliError> {
    let device = match name {
        DeviceName::Cpu => return Ok(Device::flex()),
        DeviceName::Vulkan => vulkan()?,
        DeviceName::Cuda => cuda()?,
    };
    // A driver that is missing shows only in the first operation, as a panic inside the engine.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let sum = std::panic::catch_unwind(|| {
        Tensor::<1>::ones([2], &device).sum().try_into_scalar::<f32>().ok()
    });
    std::panic::set_hook(hook);
    match sum {
        Ok(Some(2.0)) => Ok(device),
        _ => Err(CliError::Failed(format!(
            "--device {}: expected a GPU with a working driver, found none; --device cpu always \
             works",
            format!("{name:?}").to_lowercase()
        ))),
    }
}

#[cfg(feature = "vulkan")]
fn vulkan() -> Result<Device, CliError> {
    Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice))
}

#[cfg(not(feature = "vulkan"))]
fn vulkan() -> Result<Device, CliError> {
    Err(not_built("vulkan"))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, CliError> {
    Ok(Device::cuda(0))
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, CliError> {
    Err(not_built("cuda"))
}

#[cfg(not(all(feature = "vulkan", feature = "cuda")))]
fn not_built(name: &str) -> CliError {
    CliError::Usage(format!(
        "--device {name}: this build has no {name}; build with `cargo build --release --features \
         {name}`, or use --device cpu"
    ))
}
