//! Takes a few training steps on the embedded digits, without a run folder or a command line.
//!
//! ```text
//! cargo run --release -p sumi-train --example train_in_code
//! ```

use burn::tensor::Device;
use sumi_train::{RunConfig, Trainer};

const CONFIG: &str = r#"
[data]
kind = "digits"

[network]
kind = "unet"
channels = [16, 32]
blocks = 1
attention = [false, true]
norm_groups = 8

[train]
batch_size = 32
learning_rate = 2e-3
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = RunConfig::parse(CONFIG, "the example's config", &[])?;
    let (pictures, held_out) = sumi_data::load_split(&config.data)?;
    println!("{} digits to learn from, {} held out", pictures.len(), held_out.len());

    let mut trainer = Trainer::new(config, &pictures, &Device::flex())?;
    println!("{} parameters", trainer.parameter_count());
    for _ in 0..20 {
        let report = trainer.step()?;
        println!("step {:3}  loss {:.4}", report.step, report.loss);
    }

    // The averaged weights are what one samples and saves.
    let folder = std::env::temp_dir().join("sumi-train-in-code");
    std::fs::create_dir_all(&folder)?;
    trainer.averaged_model().save(&folder)?;
    println!("a diffusers folder: {}", folder.display());
    Ok(())
}
