//! `POST /v1/embeddings` and `GET /v1/models`, in the shape of OpenAI's API, so that its clients embed texts here.

use axum::Json;
use axum::extract::{Request, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::payload::read_json;
use crate::app::App;
use crate::error::{RequestError, chain};
use crate::service::blocking;

#[derive(Deserialize)]
struct Fields {
    model: String,
    input: OneOrMore,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected `input` to be a text or a list of texts; token ids are not supported"
)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    /// Little-endian f32.
    Base64,
}

pub(super) async fn embeddings(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Value>, RequestError> {
    let fields: Fields = read_json(request).await?;
    let (model, dim) = (&app.service.options().model, app.service.dim());
    if fields.model != *model {
        return Err(RequestError::NotFound(format!("the model is `{}`, expected `{model}`", fields.model)));
    }
    if let Some(found) = fields.dimensions.filter(|&found| found != dim) {
        return Err(RequestError::Invalid(format!("`dimensions` is {found}, expected {dim} or nothing")));
    }
    let texts = match fields.input {
        OneOrMore::One(text) => vec![text],
        OneOrMore::More(texts) => texts,
    };
    let rows = app.service.embed_texts(texts.clone()).await?;
    let data = rows.iter().enumerate().map(|(index, row)| {
        let embedding = match fields.encoding_format {
            Encoding::Float => json!(row),
            Encoding::Base64 => {
                let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            }
        };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    });
    let mut answer = json!({ "object": "list", "model": model, "data": data.collect::<Vec<_>>() });
    // A model that does not count tokens leaves the usage out.
    if let Some(tokens) = count_tokens(&app, texts).await? {
        answer["usage"] = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    }
    Ok(Json(answer))
}

async fn count_tokens(app: &App, texts: Vec<String>) -> Result<Option<usize>, RequestError> {
    let service = app.service.clone();
    blocking(move || {
        let counts = texts.iter().map(|text| service.model().count_tokens(text));
        let counts = counts.collect::<Result<Option<Vec<usize>>, _>>();
        Ok(counts.map_err(|error| RequestError::Input(chain(&error)))?.map(|counts| counts.iter().sum()))
    })
    .await
}

pub(super) async fn models(State(app): State<App>) -> Json<Value> {
    let model =
        json!({ "id": app.service.options().model, "object": "model", "created": 0, "owned_by": "sail" });
    Json(json!({ "object": "list", "data": [model] }))
}
