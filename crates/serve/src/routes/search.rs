//! `POST /v1/search`.

use axum::Json;
use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::payload::{Payload, text, unknown};
use crate::app::App;
use crate::error::RequestError;
use crate::query::{Item, Term, TermFields};

const K: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    q: Option<String>,
    text: Option<String>,
    image: Option<String>,
    id: Option<String>,
    #[serde(default)]
    query: Vec<TermFields>,
    #[serde(default = "k")]
    k: usize,
    #[serde(default)]
    filters: Vec<String>,
}

fn k() -> usize {
    K
}

struct Query {
    terms: Vec<Term>,
    k: usize,
    filters: Vec<String>,
}

pub(super) async fn search(State(app): State<App>, request: Request) -> Result<Json<Value>, RequestError> {
    let Query { terms, k, filters } = match Payload::read(request).await? {
        Payload::Json(fields) => of_json(fields)?,
        Payload::Form(parts) => of_form(parts)?,
    };
    if terms.is_empty() {
        let message = "the query is empty, expected `q`, `text`, `image`, `id` or `query`";
        return Err(RequestError::Invalid(message.to_owned()));
    }
    Ok(Json(json!({ "hits": app.service.search(terms, k, filters).await? })))
}

fn of_json(fields: Fields) -> Result<Query, RequestError> {
    let Fields { q, text, image, id, query, k, filters } = fields;
    let mut terms = query.into_iter().map(Term::try_from).collect::<Result<Vec<_>, _>>()?;
    terms.extend(q.as_deref().map(Term::parse_sum).transpose()?.into_iter().flatten());
    let mut add = |item| terms.push(Term { item, weight: 1.0 });
    text.map(Item::text).transpose()?.map(&mut add);
    image.as_deref().map(Item::image_from_base64).transpose()?.map(&mut add);
    id.as_deref().map(Item::entry).transpose()?.map(&mut add);
    Ok(Query { terms, k, filters })
}

fn of_form(parts: Vec<(String, Vec<u8>)>) -> Result<Query, RequestError> {
    let mut query = Query { terms: Vec::new(), k: K, filters: Vec::new() };
    for (name, value) in parts {
        let item = match name.as_str() {
            "image" => Item::Image(value),
            "text" => Item::text(text(&name, value)?)?,
            "id" => Item::entry(&text(&name, value)?)?,
            "q" => {
                query.terms.extend(Term::parse_sum(&text(&name, value)?)?);
                continue;
            }
            "filter" => {
                query.filters.push(text(&name, value)?);
                continue;
            }
            "k" => {
                let found = text(&name, value)?;
                let invalid = |_| RequestError::Invalid(format!("`k` is `{found}`, expected a number"));
                query.k = found.trim().parse().map_err(invalid)?;
                continue;
            }
            _ => return Err(unknown(&name, "`q`, `text`, `image`, `id`, `k` or `filter`")),
        };
        query.terms.push(Term { item, weight: 1.0 });
    }
    Ok(query)
}
