//! Errors.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sail_search::{EmbedError, IndexError, SearchError};
use serde_json::json;

/// A service that cannot be started, or an index that cannot be taken up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting is out of range.
    #[error("invalid setting")]
    Config(#[from] sail_core::ConfigError),
    /// The index cannot be read, or another model made it.
    #[error("cannot use the index")]
    Index(#[from] IndexError),
    /// The model cannot be described.
    #[error("cannot use the model")]
    Model(#[from] EmbedError),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The socket cannot be used.
    #[error("cannot listen")]
    Listen(#[source] std::io::Error),
}

/// A request that is not answered.
///
/// As a response it is `{"error": {"message": ..., "type": ...}}` with its [`status`](Self::status). Causes on the side of the
/// service are logged and not told to the client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request is not understood.
    #[error("{0}")]
    Invalid(String),
    /// An image cannot be decoded or preprocessed.
    #[error("cannot use the image: {0}")]
    Image(String),
    /// The model does not accept an input.
    #[error("the model cannot embed the input: {0}")]
    Input(String),
    /// The token is missing or wrong.
    #[error("expected the header `Authorization: Bearer TOKEN` with the token of this service")]
    Unauthorized,
    /// The request comes from another site or is addressed to another host.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The route does not have the method.
    #[error("the method is not allowed here: see /openapi.json")]
    Method,
    /// The client sent its body too slowly.
    #[error("the request body did not arrive within {} s", .0.as_secs_f32())]
    Slow(Duration),
    /// The body is too large.
    #[error("the request body is too large, expected at most {limit} bytes")]
    TooLarge {
        /// Maximum length in bytes.
        limit: usize,
    },
    /// The type of the body is not supported.
    #[error("the content type is `{found}`, expected {expected}")]
    ContentType {
        /// The type found.
        found: String,
        /// The types that are supported.
        expected: &'static str,
    },
    /// The queue is full.
    #[error("the service is busy: try again later")]
    Busy,
    /// The answer takes too long.
    #[error("the service did not answer within {} s: try again later", .0.as_secs_f32())]
    Timeout(Duration),
    /// Something failed on the side of the service.
    #[error("the service failed: its log has the cause")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RequestError {
    pub(crate) fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(source.into())
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Image(_) | Self::Input(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy | Self::Timeout(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the type of the error, a word for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(_) | Self::Method | Self::ContentType { .. } => "invalid_request_error",
            Self::Image(_) => "invalid_image_error",
            Self::Input(_) => "invalid_input_error",
            Self::Unauthorized => "authentication_error",
            Self::Forbidden(_) => "permission_error",
            Self::NotFound(_) => "not_found_error",
            Self::Slow(_) | Self::Timeout(_) => "timeout_error",
            Self::TooLarge { .. } => "too_large_error",
            Self::Busy => "overloaded_error",
            Self::Failed(_) => "server_error",
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        if let Self::Failed(source) = &self {
            tracing::error!("{}", chain(&**source));
        }
        let body = json!({ "error": { "message": self.to_string(), "type": self.kind() } });
        let mut response = (self.status(), axum::Json(body)).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Busy | Self::Timeout(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of the body is not read.
            Self::Slow(_) | Self::TooLarge { .. } => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl From<IndexError> for RequestError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Filter { .. } => Self::Invalid(error.to_string()),
            error => Self::failed(error),
        }
    }
}

impl From<SearchError> for RequestError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Query { .. } => {
                Self::Invalid("the parts of the query cancel each other: change the weights".to_owned())
            }
            error => Self::failed(error),
        }
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
