//! `GET /images/{id}` and `GET /images/{id}/original`.
//!
//! A request names an entry by its id, and no part of it becomes a path: thumbnails are in the index, and the file is the one
//! that the index has recorded for the entry.

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sail_search::EntryId;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::error::RequestError;
use crate::query::entry_id;
use crate::service::{blocking, live_row};

/// Ids name keys, whose images may change.
const CACHE: &str = "private, max-age=60";

type Id = Result<Path<String>, PathRejection>;

pub(super) async fn thumbnail(State(app): State<App>, id: Id) -> Result<Response, RequestError> {
    let (id, snapshot) = (parse(id)?, app.service.snapshot());
    let bytes = blocking(move || {
        let row = live_row(&snapshot.index, &id)?;
        let none = || RequestError::NotFound("the index has no thumbnail of this entry".to_owned());
        snapshot.index.thumbnail(row)?.ok_or_else(none)
    });
    Ok(image(bytes.await?, "image/jpeg"))
}

pub(super) async fn original(State(app): State<App>, id: Id) -> Result<Response, RequestError> {
    let (id, snapshot) = (parse(id)?, app.service.snapshot());
    let absent = |reason| RequestError::NotFound(format!("the file of this entry {reason}"));
    let original = blocking(move || {
        let original = snapshot.index.original(live_row(&snapshot.index, &id)?)?;
        original.ok_or_else(|| absent("is not known to the index"))
    });
    let original = original.await?;
    if original.bytes() > app.options.bodies as u64 {
        return Err(absent("is larger than this service sends"));
    }
    let length = u32::try_from(original.bytes()).map_err(|_| absent("is larger than this service sends"))?;
    let permit = app.bodies.clone().try_acquire_many_owned(length).map_err(|_| RequestError::Busy)?;
    let bytes =
        blocking(move || original.read()?.ok_or_else(|| absent("has changed since it was indexed"))).await?;
    let media_type = media_type(&bytes);
    // The memory counts as taken until the client has the whole response.
    Ok(image(Bytes::from_owner(Held { bytes, _permit: permit }), media_type))
}

fn parse(id: Id) -> Result<EntryId, RequestError> {
    match id {
        Ok(Path(id)) => entry_id(&id),
        Err(error) => Err(RequestError::Invalid(error.body_text())),
    }
}

struct Held {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The type of an image, for browsers, which are told not to guess.
fn media_type(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'B', b'M', ..] => "image/bmp",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "image/tiff",
        [0, 0, 1, 0, ..] => "image/x-icon",
        _ => "application/octet-stream",
    }
}

fn image(bytes: impl Into<Body>, media_type: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, CACHE)], bytes.into()).into_response()
}
