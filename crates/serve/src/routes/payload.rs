//! Bodies of requests as values: JSON, or a form with the files of images.

use axum::RequestExt;
use axum::extract::{Multipart, Request};
use axum::http::header;
use serde::de::DeserializeOwned;

use crate::error::RequestError;

const EXPECTED: &str = "`application/json` or `multipart/form-data`";

pub(super) enum Payload<T> {
    Json(T),
    /// Names and values of the parts of a form, in their order.
    Form(Vec<(String, Vec<u8>)>),
}

impl<T: DeserializeOwned> Payload<T> {
    pub(super) async fn read(request: Request) -> Result<Self, RequestError> {
        match media_type(&request).as_str() {
            "multipart/form-data" => form(request).await.map(Self::Form),
            "application/json" => json(request).await.map(Self::Json),
            other => Err(RequestError::ContentType { found: other.to_owned(), expected: EXPECTED }),
        }
    }
}

/// Reads a body that can only be JSON.
pub(super) async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, RequestError> {
    match media_type(&request) {
        found if found == "application/json" => json(request).await,
        found => Err(RequestError::ContentType { found, expected: "`application/json`" }),
    }
}

/// The value of a part that is a text.
pub(super) fn text(name: &str, value: Vec<u8>) -> Result<String, RequestError> {
    String::from_utf8(value).map_err(|_| RequestError::Invalid(format!("the part `{name}` is no UTF-8")))
}

/// The error of a part that a form cannot have.
pub(super) fn unknown(name: &str, expected: &str) -> RequestError {
    RequestError::Invalid(format!("the form has a part `{name}`, expected {expected}"))
}

fn media_type(request: &Request) -> String {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

async fn json<T: DeserializeOwned>(request: Request) -> Result<T, RequestError> {
    // The body has been received within its limits.
    let bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await.map_err(RequestError::failed)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| RequestError::Invalid(format!("the body is no valid request: {error}")))
}

async fn form(mut request: Request) -> Result<Vec<(String, Vec<u8>)>, RequestError> {
    axum::extract::DefaultBodyLimit::disable().apply(&mut request);
    let invalid =
        |error: &dyn std::fmt::Display| RequestError::Invalid(format!("the form cannot be read: {error}"));
    let mut form: Multipart = request.extract().await.map_err(|error| {
        let error: axum::extract::multipart::MultipartRejection = error;
        invalid(&error)
    })?;
    let mut parts = Vec::new();
    while let Some(part) = form.next_field().await.map_err(|error| invalid(&error.body_text()))? {
        let name = part.name().unwrap_or_default().to_owned();
        let value = part.bytes().await.map_err(|error| invalid(&error.body_text()))?;
        parts.push((name, value.into()));
    }
    Ok(parts)
}
