//! Inputs of the model, and their embedding in batches.

use sail_core::Pixels;
use sail_data::{DecodeLimits, decode_image};
use sail_search::{EmbedError, Embedder};

use crate::batch::together_or_alone;
use crate::error::{RequestError, chain};

/// An input of the model.
pub(crate) enum Input {
    Text(String),
    Image(Pixels),
}

/// Decodes and preprocesses an image of a request.
pub(crate) fn prepare(model: &dyn Embedder, bytes: &[u8], max_pixels: u64) -> Result<Input, RequestError> {
    let limits = DecodeLimits::default();
    let limits = DecodeLimits { max_pixels: max_pixels.min(limits.max_pixels), ..limits };
    let image = decode_image(bytes, &limits).map_err(|error| RequestError::Image(chain(&error)))?;
    let pixels = model.preprocess(&image).map_err(|error| RequestError::Image(chain(&error)))?;
    Ok(Input::Image(pixels))
}

/// Embeds a batch: its texts in one call, its images in another.
pub(crate) fn embed(
    model: &dyn Embedder,
    dim: usize,
    inputs: Vec<Input>,
) -> Vec<Result<Vec<f32>, RequestError>> {
    let (mut texts, mut images, mut is_text) = (Vec::new(), Vec::new(), Vec::with_capacity(inputs.len()));
    for input in inputs {
        is_text.push(matches!(input, Input::Text(_)));
        match input {
            Input::Text(text) => texts.push(text),
            Input::Image(pixels) => images.push(pixels),
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let rows = |rows: Result<Vec<Vec<f32>>, EmbedError>| {
        let rows = rows.map_err(|error| RequestError::Input(chain(&error)))?;
        match rows.iter().find(|row| row.len() != dim) {
            Some(row) => {
                Err(RequestError::failed(format!("an embedding of {} values, expected {dim}", row.len())))
            }
            None => Ok(rows),
        }
    };
    let mut texts = together_or_alone(&texts, |texts| rows(model.embed_texts(texts))).into_iter();
    let mut images = together_or_alone(&images, |images| rows(model.embed_images(images))).into_iter();
    let next = |is_text| if is_text { texts.next() } else { images.next() };
    is_text.into_iter().filter_map(next).collect()
}
