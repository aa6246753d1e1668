//! `POST /v1/zero-shot`.

use axum::Json;
use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::payload::{Payload, text, unknown};
use crate::app::App;
use crate::error::RequestError;
use crate::query::Item;

const TEMPLATE: &str = "a photo of a {}.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    image: Option<String>,
    id: Option<String>,
    labels: Vec<String>,
    #[serde(default)]
    templates: Vec<String>,
}

pub(super) async fn zero_shot(State(app): State<App>, request: Request) -> Result<Json<Value>, RequestError> {
    let mut items = Vec::new();
    let (mut labels, mut templates) = (Vec::new(), Vec::new());
    match Payload::<Fields>::read(request).await? {
        Payload::Json(fields) => {
            items.extend(fields.image.as_deref().map(Item::image_from_base64).transpose()?);
            items.extend(fields.id.as_deref().map(Item::entry).transpose()?);
            (labels, templates) = (fields.labels, fields.templates);
        }
        Payload::Form(parts) => {
            for (name, value) in parts {
                match name.as_str() {
                    "image" => items.push(Item::Image(value)),
                    "id" => items.push(Item::entry(&text(&name, value)?)?),
                    "label" => labels.push(text(&name, value)?),
                    "template" => templates.push(text(&name, value)?),
                    _ => return Err(unknown(&name, "`image`, `id`, `label` or `template`")),
                }
            }
        }
    }
    let (Some(item), true) = (items.pop(), items.is_empty()) else {
        return Err(RequestError::Invalid("expected one of `image` and `id`".to_owned()));
    };
    if templates.is_empty() {
        templates.push(TEMPLATE.to_owned());
    }
    Ok(Json(json!({ "labels": app.service.zero_shot(item, labels, templates).await? })))
}
