//! How different pictures of a set look from each other.

use crate::extractor::numbers;
use crate::{FeatureError, Result};
use burn::tensor::Tensor;
use sumi_random::Philox;

/// Earlier pictures that a picture can be paired with.
const KEPT: usize = 16;

/// The distance between maps of pictures, as LPIPS has it, with equal weights.
///
/// `d(x, y) = sum_l mean_hw sum_c (f_l(x)_hwc - f_l(y)_hwc)^2`, where each `f_l(x)_hw` is divided by its length (Zhang et al., The
/// Unreasonable Effectiveness of Deep Features as a Perceptual Metric, equation 1, with w_l = 1). Between 0 and 4 a stage. The
/// learned weights of LPIPS belong to other networks, so the numbers are not LPIPS's: compare them only with one another.
///
/// Every picture is paired with one of 16 that are a uniform sample of those before it, so that a set which comes class by
/// class is not compared within its classes only.
#[derive(Debug)]
pub(crate) struct Diversity {
    random: Philox,
    kept: Vec<Vec<Stage>>,
    met: u32,
    distances: Vec<f64>,
}

/// One picture's map of one stage, the channels of each place of length 1.
#[derive(Debug)]
struct Stage {
    values: Vec<f32>,
    places: usize,
}

impl Diversity {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Philox::new(seed, 0), kept: Vec::new(), met: 0, distances: Vec::new() }
    }

    /// Adds a batch by its maps, `[N, H, W, C]` each.
    pub(crate) fn add(&mut self, maps: Vec<Tensor<4>>) -> Result<()> {
        let mut pictures: Vec<Vec<Stage>> = Vec::new();
        for map in maps {
            let [n, height, width, channels] = map.dims();
            let values = numbers(map)?;
            pictures.resize_with(n, Vec::new);
            let each = height * width * channels;
            if each == 0 || values.len() != n * each {
                let message =
                    format!("expected maps of {n} pictures, found {} values", values.len());
                return Err(FeatureError::Network { network: "the extractor", message });
            }
            for (picture, values) in pictures.iter_mut().zip(values.chunks_exact(each)) {
                picture.push(Stage::of(values, channels));
            }
        }
        pictures.into_iter().for_each(|picture| self.meet(picture));
        Ok(())
    }

    fn meet(&mut self, picture: Vec<Stage>) {
        if !self.kept.is_empty() {
            let partner = self.random.below(self.kept.len() as u32) as usize;
            let stages = picture.iter().zip(&self.kept[partner]);
            self.distances.push(stages.map(|(a, b)| a.distance(b)).sum());
        }
        self.met = self.met.saturating_add(1);
        // Vitter's algorithm R: each picture so far is kept with the same probability.
        if self.kept.len() < KEPT {
            self.kept.push(picture);
        } else {
            let place = self.random.below(self.met) as usize;
            if let Some(kept) = self.kept.get_mut(place) {
                *kept = picture;
            }
        }
    }

    /// The distance of every pair, in the order of the later pictures.
    pub(crate) fn distances(self) -> Vec<f64> {
        self.distances
    }
}

impl Stage {
    fn of(values: &[f32], channels: usize) -> Self {
        let mut values = values.to_vec();
        for place in values.chunks_exact_mut(channels) {
            let squared: f32 = place.iter().map(|x| x * x).sum();
            // LPIPS's own guard, so that a place where nothing fires stays zero.
            let length = squared.sqrt() + 1e-10;
            place.iter_mut().for_each(|x| *x /= length);
        }
        Self { places: values.len() / channels, values }
    }

    fn distance(&self, other: &Self) -> f64 {
        let squares =
            self.values.iter().zip(&other.values).map(|(a, b)| f64::from((a - b) * (a - b)));
        squares.sum::<f64>() / self.places as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn map(values: Vec<f32>, n: usize) -> Tensor<4> {
        let channels = values.len() / n;
        Tensor::from_data(TensorData::new(values, [n, 1, 1, channels]), &Device::flex())
    }

    #[test]
    fn directions_count_and_lengths_do_not() {
        let mut diversity = Diversity::new(0);
        diversity.add(vec![map(vec![1.0, 0.0, 5.0, 0.0, 0.0, 2.0, -3.0, 0.0], 4)]).unwrap();
        let distances = diversity.distances();
        assert_eq!(distances.len(), 3);
        assert!(distances[0] < 1e-12, "the same direction");
        assert!((distances[1] - 2.0).abs() < 1e-6, "a right angle to either");
        assert!(distances[2] > 1.9);
        assert_eq!(Diversity::new(0).distances(), [0.0; 0]);
    }

    /// A set that comes class by class is as diverse as the same set shuffled, about.
    #[test]
    fn pairs_reach_across_a_sorted_set() {
        let class = |c: usize| if c == 0 { [1.0, 0.0] } else { [0.0, 1.0] };
        let of = |order: &dyn Fn(usize) -> usize| {
            let mut diversity = Diversity::new(3);
            for i in 0..2000 {
                diversity.add(vec![map(class(order(i)).to_vec(), 1)]).unwrap();
            }
            let distances = diversity.distances();
            distances.iter().sum::<f64>() / distances.len() as f64
        };
        let (sorted, mixed) = (of(&|i| i / 1000), of(&|i| i % 2));
        assert!((mixed - 1.0).abs() < 0.15, "{mixed}");
        // The first half meets only its own class: at most about 2 ln 2 / 2 of the pairs reach across.
        assert!(sorted > 0.5, "{sorted}");
    }
}
