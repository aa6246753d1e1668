//! Bodies of requests, received within limits of time and memory.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::app::App;
use crate::error::RequestError;

/// Receives the body, then answers the request, each within the time limit.
///
/// The handlers get a body that is complete, so that none waits for a client while it holds what others need.
pub(crate) async fn receive(State(app): State<App>, request: Request, next: Next) -> Response {
    let limit = app.options.timeout;
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: u64| length > app.options.max_body as u64)
    {
        return RequestError::TooLarge { limit: app.options.max_body }.into_response();
    }
    let received = timeout(limit, collect(body, app.options.max_body, &app.bodies)).await;
    let (bytes, _held) = match received.unwrap_or(Err(RequestError::Slow(limit))) {
        Ok(received) => received,
        Err(error) => return error.into_response(),
    };
    let request = Request::from_parts(parts, Body::from(bytes));
    let answer = timeout(limit, next.run(request)).await;
    answer.unwrap_or_else(|_| RequestError::Timeout(limit).into_response())
}

/// Collects a body. The permits are one for each byte that has arrived: a client that sends slowly takes little.
async fn collect(
    mut body: Body,
    limit: usize,
    budget: &Arc<Semaphore>,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), RequestError> {
    let (mut bytes, mut held) = (Vec::new(), None);
    if body.is_end_stream() {
        return Ok((bytes, held));
    }
    while let Some(frame) = body.frame().await {
        let cut_short = |error| RequestError::Invalid(format!("the request body cannot be read: {error}"));
        let Ok(data) = frame.map_err(cut_short)?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(RequestError::TooLarge { limit });
        }
        let length = u32::try_from(data.len()).map_err(RequestError::failed)?;
        let permit = budget.clone().try_acquire_many_owned(length).map_err(|_| RequestError::Busy)?;
        match &mut held {
            None => held = Some(permit),
            Some(held) => held.merge(permit),
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
}
