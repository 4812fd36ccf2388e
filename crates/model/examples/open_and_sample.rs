//! Opens a model folder, of Sumi or of Python's diffusers, and draws two pictures with DDIM.
//!
//! ```text
//! cargo run --release -p sumi-model --example open_and_sample -- crates/model/testdata/ddpm
//! ```

use burn::tensor::Device;
use std::ops::ControlFlow;
use std::path::PathBuf;
use sumi_model::{Batch, Classes, Generator, Model, Plan, Request, SamplerChoice};
use sumi_sampler::Moment;
use sumi_sampler::SamplerKind;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map(PathBuf::from).ok_or("which model folder?")?;
    let model = Model::open(&folder, &Device::flex())?;
    let choice = SamplerChoice {
        kind: Some(SamplerKind::named("ddim")?),
        steps: Some(10),
        ..SamplerChoice::default()
    };
    let plan = Plan::new(&model.scheduler, choice)?;
    let request = Request { count: 2, batch: 2, seed: 0, classes: Classes::All, noise: None };
    let mut generator = Generator::new(&model, &plan, request)?;

    // An observer sees every step: progress bars, films and cancellation attach here.
    let mut watch = |moment: Moment<'_, Batch>| {
        println!("step {} of {}, sigma {:.3}", moment.step + 1, moment.steps, moment.level.sigma);
        ControlFlow::Continue(())
    };
    let [c, h, w] = generator.dims();
    while let Some(batch) = generator.next_batch(&mut watch)? {
        for (i, sample) in batch.samples.chunks(c * h * w).enumerate() {
            let mean = sample.iter().sum::<f32>() / sample.len() as f32;
            println!("sample {}: {c}x{h}x{w}, mean {mean:.4}", batch.first + i);
        }
    }
    Ok(())
}
