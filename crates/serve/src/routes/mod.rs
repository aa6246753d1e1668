//! Routes.

mod embed;
mod images;
mod index;
mod openai;
mod page;
mod payload;
mod search;
mod zero_shot;

use std::any::Any;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use sail_core::Check;
use serde_json::json;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::body::receive;
use crate::error::{RequestError, ServeError};
use crate::guard::{guard, observe};
use crate::options::RouterOptions;
use crate::service::Service;

/// Every route, as `/openapi.json` describes it.
fn routes() -> [(&'static str, MethodRouter<App>); 15] {
    [
        ("/", get(page::html)),
        ("/page.css", get(page::css)),
        ("/page.js", get(page::js)),
        ("/health", get(health)),
        ("/metrics", get(metrics)),
        ("/openapi.json", get(openapi)),
        ("/images/{id}", get(images::thumbnail)),
        ("/images/{id}/original", get(images::original)),
        ("/v1/index", get(index::index)),
        ("/v1/search", post(search::search)),
        ("/v1/embed/text", post(embed::text)),
        ("/v1/embed/image", post(embed::image)),
        ("/v1/zero-shot", post(zero_shot::zero_shot)),
        ("/v1/embeddings", post(openai::embeddings)),
        ("/v1/models", get(openai::models)),
    ]
}

/// Returns the routes of a service, with all limits but those of connections: see [`serve`](crate::serve). `GET /openapi.json`
/// describes them.
///
/// The router has a fallback. It can be nested under a path, by `Router::nest_service`; its page is then at the path with a slash at
/// the end.
///
/// # Errors
/// [`ServeError::Config`] for invalid options.
pub fn router(service: Arc<Service>, options: RouterOptions) -> Result<Router, ServeError> {
    options.check()?;
    let bodies = Arc::new(Semaphore::new(options.bodies));
    let app = App::new(service, options, bodies);
    let router = routes().into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route));
    Ok(router
        .fallback(|| async { RequestError::NotFound("there is nothing here: see /openapi.json".to_owned()) })
        .method_not_allowed_fallback(|| async { RequestError::Method })
        .layer(from_fn_with_state(app.clone(), receive))
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    RequestError::failed(format!("a handler panicked: {message}")).into_response()
}

async fn health() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, RequestError> {
    let text = app.service.metrics().text().map_err(RequestError::failed)?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../openapi.json"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let description: Value = serde_json::from_str(include_str!("../openapi.json")).unwrap();
        let described: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
        let mut routes: Vec<&str> = super::routes().iter().map(|(path, _)| *path).collect();
        routes.sort_unstable();
        let mut described: Vec<&str> = described.into_iter().map(String::as_str).collect();
        described.sort_unstable();
        assert_eq!(routes, described);
    }
}
