//! `POST /v1/embed/text` and `POST /v1/embed/image`.

use axum::Json;
use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::payload::{Payload, read_json, unknown};
use crate::app::App;
use crate::error::RequestError;
use crate::query::Item;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    texts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Images {
    images: Vec<String>,
}

pub(super) async fn text(State(app): State<App>, request: Request) -> Result<Json<Value>, RequestError> {
    let Texts { texts } = read_json(request).await?;
    Ok(answer(&app, &app.service.embed_texts(texts).await?))
}

pub(super) async fn image(State(app): State<App>, request: Request) -> Result<Json<Value>, RequestError> {
    let images = match Payload::read(request).await? {
        Payload::Json(Images { images }) => {
            let image = |image: String| match Item::image_from_base64(&image)? {
                Item::Image(bytes) => Ok(bytes),
                _ => Err(RequestError::failed("an image is an image")),
            };
            images.into_iter().map(image).collect::<Result<_, _>>()?
        }
        Payload::Form(parts) => {
            let image = |(name, value): (String, _)| match name.as_str() {
                "image" => Ok(value),
                _ => Err(unknown(&name, "`image`")),
            };
            parts.into_iter().map(image).collect::<Result<_, _>>()?
        }
    };
    Ok(answer(&app, &app.service.embed_images(images).await?))
}

fn answer(app: &App, embeddings: &[Vec<f32>]) -> Json<Value> {
    Json(json!({ "model": app.service.options().model, "dim": app.service.dim(), "embeddings": embeddings }))
}
