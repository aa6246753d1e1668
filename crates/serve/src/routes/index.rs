//! `GET /v1/index`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;

/// What the index holds, and the model that made it.
pub(super) async fn index(State(app): State<App>) -> Json<Value> {
    let identity = app.service.identity();
    Json(json!({
        "rows": app.service.rows(),
        "dim": app.service.dim(),
        "model": app.service.options().model,
        "vision": identity.vision.model,
        "text": identity.text.model,
        "max_results": app.service.options().max_results,
    }))
}
