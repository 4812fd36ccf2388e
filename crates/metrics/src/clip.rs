//! Whether pictures show what their texts say.

use crate::{Features, Mean, MetricError};

/// Cosines between the embeddings of pictures and of their texts, and the two scores that are made of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipScore {
    cosines: Vec<f64>,
}

impl ClipScore {
    /// cos(x, y) = x.y / (|x| |y|) for the embedding x of each picture and y of its text.
    ///
    /// # Errors
    /// If there are no pairs, more or fewer texts than images, other dimensions, or an embedding is zero.
    pub fn new(images: &Features, texts: &Features) -> Result<Self, MetricError> {
        images.check_columns(texts)?;
        images.check_rows(1, "a CLIP score")?;
        if images.rows() != texts.rows() {
            return Err(MetricError::Pairs { images: images.rows(), texts: texts.rows() });
        }
        let direction = |set: &Features, which, row| {
            let x = set.row(row);
            // Scaled first, so that squares neither overflow nor vanish.
            let largest = x.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            if largest == 0.0 {
                return Err(MetricError::ZeroEmbedding { which, row });
            }
            let norm = x.iter().map(|x| (x / largest).powi(2)).sum::<f64>().sqrt();
            Ok(x.iter().map(|x| x / largest / norm).collect::<Vec<f64>>())
        };
        let cosine = |row| {
            let (x, y) = (direction(images, "image", row)?, direction(texts, "text", row)?);
            Ok(x.iter().zip(&y).map(|(x, y)| x * y).sum::<f64>().clamp(-1.0, 1.0))
        };
        Ok(Self { cosines: (0..images.rows()).map(cosine).collect::<Result<_, _>>()? })
    }

    /// The cosine of each pair, -1 to 1.
    pub fn cosines(&self) -> &[f64] {
        &self.cosines
    }

    /// max(100 E cos, 0), 0 to 100: what torchmetrics calls the CLIP score.
    ///
    /// Its documentation says max(100 cos, 0) of a pair, but it is the mean over pairs that is held at 0.
    pub fn torchmetrics(&self) -> Mean {
        let Mean { mean, error } = self.mean_of(|cosine| 100.0 * cosine);
        Mean { mean: mean.max(0.0), error }
    }

    /// E 2.5 max(cos, 0), 0 to 2.5: CLIPScore (Hessel et al., 2021), whose texts begin with "A photo depicts ".
    pub fn hessel(&self) -> Mean {
        self.mean_of(|cosine| 2.5 * cosine.max(0.0))
    }

    fn mean_of(&self, score: impl Fn(f64) -> f64) -> Mean {
        Mean::of(&self.cosines.iter().map(|&cosine| score(cosine)).collect::<Vec<f64>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_scores_come_from_the_cosines() {
        let images = Features::new(3, 2, vec![3.0, 4.0, 1e200, 0.0, 0.0, 1e-200]).unwrap();
        let texts = Features::new(3, 2, vec![5.0, 0.0, -2.0, 0.0, 0.0, 7.0]).unwrap();
        let score = ClipScore::new(&images, &texts).unwrap();
        let expected = [0.6, -1.0, 1.0];
        assert!(score.cosines().iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-15));
        assert!((score.torchmetrics().mean - 20.0).abs() < 1e-13);
        assert!((score.hessel().mean - 2.5 * 1.6 / 3.0).abs() < 1e-15);
        // Cosines 0.6, 0, 1 about their mean of 1.6 / 3.
        let squares: f64 = [0.6, 0.0, 1.0].iter().map(|x: &f64| (x - 1.6 / 3.0).powi(2)).sum();
        assert!((score.hessel().error - 2.5 * (squares / 6.0).sqrt()).abs() < 1e-14);
        let away = ClipScore::new(&images.filter(|i| i == 1), &texts.filter(|i| i == 1)).unwrap();
        assert_eq!((away.torchmetrics().mean, away.hessel().mean), (0.0, 0.0));
    }

    #[test]
    fn bad_pairs_are_refused() {
        let two = Features::new(2, 2, vec![1.0, 0.0, 0.0, 0.0]).unwrap();
        let one = two.filter(|i| i == 0);
        let message = |a, b| ClipScore::new(a, b).unwrap_err().to_string();
        assert_eq!(message(&two, &one), "2 images need as many texts, found 1");
        assert_eq!(message(&two, &two), "the embedding of image 1 is zero and has no direction");
        let none = two.filter(|_| false);
        assert_eq!(message(&none, &none), "a CLIP score needs at least 1 samples, found 0");
    }
}
