//! A model that understands colors.

use std::sync::{Arc, Condvar, Mutex};

use sail_core::{InputError, Pixels, Provenance, RgbImage};
use sail_search::{EmbedError, Embedder, ModelIdentity};

/// The content of the head's file, and its SHA-256.
pub(crate) const HEAD: &[u8] = b"a head";
const HEAD_SHA256: &str = "4ebc204abb3a3274614772192b70112c20afa5400f2459981e53203508b81db0";

/// Images are their mean color, texts the sum of the colors that they name, and both unit vectors.
///
/// Three words make trouble: `fail`, `panic`, and `wait`, which waits for the [`Gate`].
#[derive(Default)]
pub(crate) struct MeanColor {
    pub(crate) gate: Arc<Gate>,
}

/// Holds the model up.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_open: bool,
    waiting: usize,
}

impl Gate {
    pub(crate) fn open(&self) {
        self.state.lock().unwrap().is_open = true;
        self.changed.notify_all();
    }

    /// Waits until the model waits.
    pub(crate) fn reached(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| state.waiting == 0).unwrap());
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.is_open).unwrap());
    }
}

impl Embedder for MeanColor {
    fn identity(&self) -> Result<ModelIdentity, EmbedError> {
        let [vision, text] = ["mean-color", "color-words"].map(Provenance::new);
        Ok(ModelIdentity::new(vision, text, HEAD_SHA256.to_owned()))
    }

    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let mean = |channel| {
            let sum: f32 = image.pixels().map(|pixel| f32::from(pixel.0[channel])).sum();
            sum / (image.width() * image.height()) as f32
        };
        Ok(Pixels { size: [1, 1], values: (0..3).map(mean).collect() })
    }

    fn embed_images(&self, images: &[Pixels]) -> Result<Vec<Vec<f32>>, EmbedError> {
        images.iter().map(|image| unit(&image.values)).collect()
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let embed = |text: &&str| {
            let mut sum = [0.0f32; 3];
            for word in text.split(|c: char| !c.is_alphanumeric()) {
                match word {
                    "red" => sum[0] += 1.0,
                    "green" => sum[1] += 1.0,
                    "blue" => sum[2] += 1.0,
                    "panic" => panic!("the word was panic"),
                    "fail" => return Err(EmbedError::new("the word was fail")),
                    "wait" => {
                        self.gate.pass();
                        sum[0] += 1.0;
                    }
                    _ => sum.iter_mut().for_each(|value| *value += 0.1),
                }
            }
            unit(&sum)
        };
        texts.iter().map(embed).collect()
    }

    fn count_tokens(&self, text: &str) -> Result<Option<usize>, EmbedError> {
        Ok(Some(text.split_whitespace().count()))
    }
}

fn unit(values: &[f32]) -> Result<Vec<f32>, EmbedError> {
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    match norm > 0.0 {
        true => Ok(values.iter().map(|value| value / norm).collect()),
        false => Err(EmbedError::new("black has no direction")),
    }
}
