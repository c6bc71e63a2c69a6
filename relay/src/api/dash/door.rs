//! Who may see a page and send a form, and what every page wears.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};

use super::{layout, login};
use crate::api::{
    ApiState,
    error::Error,
    params::{self, PUBLIC_BODY_BYTES_MAX, Params},
};

/// Files of this relay alone, nothing inline, no frames, forms to ourselves.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// A form whose token belongs to the session.
pub(super) type Form = Arc<Params>;

/// What every page wears. A handler may have said itself how long its answer is good.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Not `no-referrer`: with it a browser sends forms without saying where they come from.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Lets a request through to the page when it has a session; a form must bring its token too. Handlers
/// find both as extensions.
pub(super) async fn guard(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let now_ms = state.clock.now_ms();
    let sessions = &state.shared.sessions;
    let Some(session) = sessions.of(request.headers(), now_ms) else {
        return login::form(&state, StatusCode::UNAUTHORIZED, &back_to(&request), None);
    };
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut request = request;
        request.extensions_mut().insert(session);
        return next.run(request).await;
    }
    if !is_from_here(request.headers()) {
        return layout::failure(&state, Some(&session), &foreign());
    }
    let (parts, body) = request.into_parts();
    let bytes = match params::whole(body, PUBLIC_BODY_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return layout::failure(&state, Some(&session), &error),
    };
    let form = Params::read(Some(&String::from_utf8_lossy(&bytes)));
    if !form.text("token").is_some_and(|token| sessions.is_of(&session, token)) {
        return layout::failure(&state, Some(&session), &foreign());
    }
    let mut request = Request::from_parts(parts, axum::body::Body::empty());
    request.extensions_mut().insert(session);
    request.extensions_mut().insert::<Form>(Arc::new(form));
    next.run(request).await
}

/// Whether a browser says that a form was sent from a page of ours. Those that say nothing are let
/// through: what counts is the token.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return true };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == text(HOST.as_str())
}

/// The error for a form from elsewhere.
pub(super) fn foreign() -> Error {
    Error::new(
        StatusCode::FORBIDDEN,
        "Forbidden",
        "this form does not belong to your login; go back, load the page anew and send it again",
    )
}

/// Where a login leads to: the page that was asked for.
fn back_to(request: &Request) -> String {
    let path = request.uri().path_and_query().map_or(super::PATH, |asked| asked.as_str());
    let page = *request.method() == Method::GET && request.uri().path() != "/dash/live";
    if page { path.to_owned() } else { super::PATH.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page elsewhere cannot send a form in an operator's name.
    #[test]
    fn forms_of_other_pages_are_told_apart() {
        let asked = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.insert(*name, value.parse().unwrap());
            }
            is_from_here(&headers)
        };
        assert!(asked(&[("sec-fetch-site", "same-origin")]));
        assert!(asked(&[("sec-fetch-site", "none")]));
        assert!(!asked(&[("sec-fetch-site", "cross-site")]));
        assert!(!asked(&[
            ("sec-fetch-site", "same-site"),
            ("origin", "http://a:1"),
            ("host", "a:1")
        ]));
        assert!(asked(&[("origin", "http://a:1"), ("host", "a:1")]));
        assert!(!asked(&[("origin", "http://b:1"), ("host", "a:1")]));
        assert!(!asked(&[("origin", "http://a:2"), ("host", "a:1")]));
        assert!(!asked(&[("origin", "null"), ("host", "a:1")]));
        assert!(!asked(&[("origin", "http://a:1")]));
        assert!(asked(&[]), "no browser");
    }
}
