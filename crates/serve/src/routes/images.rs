//! `GET /images/{id}` and `GET /images/{id}/original`.
//!
//! A request names an entry by its id, and no part of it becomes a path: thumbnails are in the index, and the file is the one
//! that the index has recorded for the entry.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::App;
use crate::error::RequestError;
use crate::query::entry_id;
use crate::service::{blocking, live_row};

/// Ids name keys, whose images may change.
const CACHE: &str = "private, max-age=60";

pub(super) async fn thumbnail(State(app): State<App>, Path(id): Path<String>) -> Result<Response, RequestError> {
    let (id, snapshot) = (entry_id(&id)?, app.service.snapshot());
    let bytes = blocking(move || {
        let row = live_row(&snapshot.index, &id)?;
        let none = || RequestError::NotFound("the index has no thumbnail of this entry".to_owned());
        snapshot.index.thumbnail(row)?.ok_or_else(none)
    });
    Ok(image(bytes.await?, "image/jpeg"))
}

pub(super) async fn original(State(app): State<App>, Path(id): Path<String>) -> Result<Response, RequestError> {
    let _ = (app, id);
    todo!()
}

fn image(bytes: Vec<u8>, media_type: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, CACHE)], bytes).into_response()
}
