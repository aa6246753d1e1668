//! Who may ask, and what every response says about itself.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::error::RequestError;
use crate::options::RouterOptions;

/// Routes without data: the page, which asks for the token, and what probes need.
const PUBLIC: [&str; 5] = ["/", "/page.css", "/page.js", "/health", "/openapi.json"];

/// Headers of every response. Nothing but the files of the page may run in it, and no other site may embed or read anything.
const SECURITY: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Refuses requests without permission.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    // Of a router that is nested, this is the path below its own.
    let is_public = PUBLIC.contains(&request.uri().path());
    match admit(&app.options, request.headers(), is_public) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn admit(options: &RouterOptions, headers: &HeaderMap, is_public: bool) -> Result<(), RequestError> {
    if let Some(hosts) = &options.hosts {
        let authority =
            host(headers).ok_or_else(|| RequestError::Forbidden("expected one header `Host`".to_owned()))?;
        if !hosts.iter().any(|host| host.eq_ignore_ascii_case(authority.host())) {
            return Err(RequestError::Forbidden(format!(
                "this service does not answer for the host `{}`, expected one of {}",
                authority.host(),
                hosts.join(", ")
            )));
        }
        // Browsers state the origin of a request that a page of another site makes.
        let same = |origin: &HeaderValue| {
            let origin = Uri::try_from(origin.as_bytes()).ok();
            origin.is_some_and(|origin| origin.authority() == Some(&authority))
        };
        if !headers.get_all(header::ORIGIN).iter().all(same) {
            let message = "the header `Origin` names another site than `Host`: a proxy must pass `Host` on";
            return Err(RequestError::Forbidden(message.to_owned()));
        }
    }
    match &options.token {
        Some(token) if !is_public => {
            let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
                let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
            });
            let is_right = bearer.is_some_and(|found| found.as_bytes().ct_eq(token.as_bytes()).into());
            is_right.then_some(()).ok_or(RequestError::Unauthorized)
        }
        _ => Ok(()),
    }
}

/// The only `Host` of a request.
fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none())?;
    Authority::try_from(host.as_bytes()).ok()
}

/// Counts the request and adds the headers of every response.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let (status, time) = (response.status().as_u16(), began.elapsed());
    app.service.metrics().answered(route, status, time);
    tracing::debug!(route, status, ms = time.as_millis(), "request");
    let headers = response.headers_mut();
    headers.extend(SECURITY);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_requests_to_this_machine_from_its_own_page() {
        let hosts = Some(RouterOptions::LOOPBACK.map(str::to_owned).to_vec());
        let options = RouterOptions { hosts, ..RouterOptions::default() };
        let admitted = |pairs: &[(HeaderName, &str)]| admit(&options, &headers(pairs), false).is_ok();
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:80", "[::1]"] {
            assert!(admitted(&[(header::HOST, host)]), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:80", "localhost@evil.example", "", "[::2]:80"] {
            assert!(!admitted(&[(header::HOST, host)]), "{host}");
        }
        assert!(!admitted(&[]));
        assert!(!admitted(&[(header::HOST, "localhost"), (header::HOST, "evil.example")]));
        let from = |origin| admitted(&[(header::HOST, "localhost:8080"), (header::ORIGIN, origin)]);
        assert!(from("http://localhost:8080"));
        for origin in ["null", "http://evil.example", "http://localhost:3000", "http://localhost"] {
            assert!(!from(origin), "{origin}");
        }
    }

    #[test]
    fn the_token_is_compared_as_a_whole() {
        let options = RouterOptions { token: Some("s3cret".to_owned()), ..RouterOptions::default() };
        let admitted = |value: &str, is_public| {
            admit(&options, &headers(&[(header::AUTHORIZATION, value)]), is_public).is_ok()
        };
        assert!(admitted("Bearer s3cret", false) && admitted("bearer  s3cret", false));
        for wrong in ["Bearer s3cre", "Bearer s3crett", "Bearer ", "Bearer", "s3cret", "Basic s3cret"] {
            assert!(!admitted(wrong, false), "{wrong}");
        }
        assert!(admit(&options, &HeaderMap::new(), false).is_err());
        assert!(admit(&options, &HeaderMap::new(), true).is_ok());
    }
}
