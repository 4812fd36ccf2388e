//! x
use burn::tensor::{Device, Tensor, Distribution};
use sumi_networks::unet::{UNet, UNetConfig};
use sumi_nn::{Init, Pass};
use std::time::Instant;
#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let what = a[1].as_str(); let b: usize = a[2].parse().unwrap(); let reps: usize = a[3].parse().unwrap();
    let config: UNetConfig = serde_json::from_str(&std::fs::read_to_string(&a[4]).unwrap()).unwrap();
    let device = Device::flex();
    let device = if what == "train" { device.autodiff() } else { device };
    let unet = UNet::new(&config, &mut Init::new(&device, 0)).unwrap();
    let s = match config.sample_size { _ => a[5].parse::<usize>().unwrap() };
    let x = Tensor::<4>::random([b, config.in_channels, s, s], Distribution::Normal(0.0, 1.0), &device);
    let t = vec![500.0; b]; let c = vec![0u32; b];
    let classes = config.num_class_embeds.map(|_| c.as_slice());
    let mut times = vec![];
    for _ in 0..reps {
        let st = Instant::now();
        let y = unet.forward(x.clone(), &t, classes, &mut Pass::Inference);
        if what == "train" { let g = y.square().mean().backward(); std::hint::black_box(g); } else { std::hint::black_box(y); }
        times.push(st.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    println!("{what} {b}: min {:.4} median {:.4}", times[0], times[reps / 2]);
}
