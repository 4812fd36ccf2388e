//! How good the samples are, in numbers.

use crate::error::CliError;
use crate::sample::Drawn;
use sumi_data::Pictures;
use sumi_metrics::{
    Features, Labelled, Neighbour, frechet_distance, nearest_neighbour_accuracy,
    nearest_neighbours, spread_by_class,
};

/// Neighbours that the report shows of a sample.
pub const NEIGHBOURS: usize = 3;

/// What was measured, on pixels from 0 to 1.
pub struct Measures {
    /// From the samples to the held-out digits.
    pub frechet_held_out: f64,
    /// From the training digits to the held-out digits: what another draw of the real thing has.
    pub frechet_real: f64,
    /// Between two random halves of all real digits.
    pub frechet_halves: f64,
    /// The share of samples whose nearest training digit is of their class.
    pub recognised: f64,
    /// The same for every class.
    pub recognised_by_class: Vec<f64>,
    /// The same for the held-out digits.
    pub recognised_held_out: f64,
    /// For every class, the mean distance between two samples over that between two real digits.
    pub spread_by_class: Vec<f64>,
    /// The training digits nearest to each sample.
    pub neighbours: Vec<Vec<Neighbour>>,
    /// The mean distance of a sample to its nearest training digit.
    pub nearest: f64,
    /// The same for the held-out digits.
    pub nearest_held_out: f64,
}

impl Measures {
    /// Measures samples against real digits.
    ///
    /// # Errors
    /// Too few samples of a class.
    pub fn new(drawn: &Drawn, training: &Pictures, held_out: &Pictures) -> Result<Self, CliError> {
        let columns = training.picture_len();
        let bytes: Vec<u8> = drawn.pictures.iter().flat_map(|p| &p.pixels).copied().collect();
        let samples = Features::from_pixels(columns, &bytes, u8::MAX)?;
        let scaled = |p: &Pictures| Features::from_pixels(columns, &p.pixels, p.max_value);
        let (train_features, held_out_features) = (scaled(training)?, scaled(held_out)?);
        let labels = |labels: &[u32]| labels.iter().map(|&l| l as usize).collect::<Vec<_>>();
        let sample_labels = labels(&drawn.classes);
        let (train_labels, held_out_labels) = (labels(&training.labels), labels(&held_out.labels));
        let sampled = Labelled::new(&samples, &sample_labels)?;
        let train = Labelled::new(&train_features, &train_labels)?;
        let held = Labelled::new(&held_out_features, &held_out_labels)?;

        let accuracy = nearest_neighbour_accuracy(train, sampled, 1)?;
        let neighbours = nearest_neighbours(&samples, &train_features, NEIGHBOURS)?;
        let nearest_held_out = nearest_neighbours(&held_out_features, &train_features, 1)?;
        Ok(Self {
            frechet_held_out: frechet_distance(&samples, &held_out_features)?,
            frechet_real: frechet_distance(&train_features, &held_out_features)?,
            frechet_halves: frechet_of_halves(&train_features, &held_out_features)?,
            recognised: accuracy.overall,
            recognised_by_class: accuracy.per_class.iter().map(|c| c.fraction).collect(),
            recognised_held_out: nearest_neighbour_accuracy(train, held, 1)?.overall,
            spread_by_class: spread_by_class(sampled, train)?.iter().map(|c| c.ratio()).collect(),
            nearest: mean_nearest(&neighbours),
            nearest_held_out: mean_nearest(&nearest_held_out),
            neighbours,
        })
    }

    /// How many times farther from the held-out digits the samples are than the training digits.
    pub fn frechet_ratio(&self) -> f64 {
        self.frechet_held_out / self.frechet_real
    }

    /// The smallest spread of a class.
    pub fn least_spread(&self) -> f64 {
        self.spread_by_class.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

fn frechet_of_halves(training: &Features, held_out: &Features) -> Result<f64, CliError> {
    let all: Vec<f64> = [training.data(), held_out.data()].concat();
    let rows = training.rows() + held_out.rows();
    let all = Features::new(rows, training.columns(), all)?;
    // The two parts are a random split, but each in the order of the file: mix once more.
    let (first, _) = sumi_data::split(rows, 0.5, 1);
    let mut in_first = vec![false; rows];
    first.into_iter().for_each(|i| in_first[i] = true);
    Ok(frechet_distance(&all.filter(|i| in_first[i]), &all.filter(|i| !in_first[i]))?)
}

fn mean_nearest(neighbours: &[Vec<Neighbour>]) -> f64 {
    let nearest = neighbours.iter().filter_map(|n| n.first()).map(|n| n.distance);
    nearest.sum::<f64>() / neighbours.len().max(1) as f64
}
