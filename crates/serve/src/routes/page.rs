//! The page: three files in the binary.

use axum::http::header;
use axum::response::{Html, IntoResponse};

pub(super) async fn html() -> Html<&'static str> {
    Html(include_str!("../page/index.html"))
}

pub(super) async fn css() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../page/page.css"))
}

pub(super) async fn js() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../page/page.js"))
}
