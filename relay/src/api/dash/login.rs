//! The way in and out: the admin password for a cookie, with the limit of the admin API (API-6).

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{LOCATION, RETRY_AFTER, SET_COOKIE},
};
use maud::html;
use tokio::time::Instant;

use super::{
    door, layout,
    session::{COOKIE_NAME, LIFE, Session},
};
use crate::{
    api::{
        ApiState,
        admin::Outside,
        params::{self, PUBLIC_BODY_BYTES_MAX, Params},
    },
    clients::Client,
    telemetry::metrics,
};

/// `GET /dash/login`.
pub(super) async fn page(
    State(state): State<ApiState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let to = destination(params.text("to"));
    if state.shared.sessions.of(&headers, state.clock.now_ms()).is_some() {
        return moved(to);
    }
    form(&state, StatusCode::OK, to, None)
}

/// `POST /dash/login`.
pub(super) async fn enter(State(state): State<ApiState>, request: Request<Body>) -> Response {
    let client = Client::of(request.extensions()).address;
    let (parts, body) = request.into_parts();
    let body = match params::whole(body, PUBLIC_BODY_BYTES_MAX).await {
        Ok(body) => String::from_utf8_lossy(&body).into_owned(),
        Err(error) => return layout::failure(&state, None, &error),
    };
    let given = Params::read(Some(&body));
    let now_ms = state.clock.now_ms();
    let to = destination(given.text("to"));
    let sessions = &state.shared.sessions;
    let is_ours = given.text("token").is_some_and(|token| sessions.is_visit(token, now_ms));
    if !is_ours || !door::is_from_here(&parts.headers) {
        let why = "The form had lain open for too long, or was not ours. Try again.";
        return form(&state, StatusCode::FORBIDDEN, to, Some(why));
    }
    let password = given.text("password").unwrap_or_default();
    let tried = state.shared.gate.try_password(password.as_bytes(), client, Instant::now());
    match tried {
        Ok(()) => {
            tracing::info!(%client, "an operator logged in to the page");
            let mut response = moved(to);
            let cookie = cookie(&sessions.begin(now_ms), LIFE.as_secs(), &parts.headers);
            response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
            response
        }
        Err(outside) => refused(&state, to, client, outside),
    }
}

fn refused(state: &ApiState, to: &str, client: std::net::IpAddr, outside: Outside) -> Response {
    ::metrics::counter!(metrics::API_ADMIN_REFUSED, "reason" => outside.label()).increment(1);
    let Outside::Slowed(left) = outside else {
        tracing::warn!(%client, "a wrong admin password was given");
        return form(state, StatusCode::UNAUTHORIZED, to, Some("That is not the password."));
    };
    let seconds = left.as_secs().saturating_add(1);
    let why = format!("Too many wrong passwords came from here. Try again in {seconds} s.");
    let mut response = form(state, StatusCode::TOO_MANY_REQUESTS, to, Some(&why));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// `POST /dash/logout`.
pub(super) async fn leave(
    State(state): State<ApiState>,
    Extension(session): Extension<Session>,
    headers: HeaderMap,
) -> Response {
    state.shared.sessions.end(&session);
    let mut response = moved("/dash/login");
    response.headers_mut().extend(cookie("", 0, &headers).map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// The login page in place of what was asked for.
pub(super) fn form(state: &ApiState, status: StatusCode, to: &str, why: Option<&str>) -> Response {
    let token = state.shared.sessions.visit(state.clock.now_ms());
    let content = html! {
        section.panel.login {
            h1 { "Log in" }
            p.dim { "The page of this relay's operators." }
            @if let Some(why) = why { p.notice.bad role="alert" { (why) } }
            form method="post" action="/dash/login" {
                input type="hidden" name="token" value=(token);
                input type="hidden" name="to" value=(to);
                label for="password" { "Admin password" }
                input #password type="password" name="password" required autofocus
                    autocomplete="current-password";
                button.primary type="submit" { "Log in" }
            }
        }
    };
    layout::bare(state, status, "Log in", &content)
}

/// `HttpOnly` keeps scripts away, `Strict` other sites, `Secure` everything but TLS where a proxy says
/// that there is any.
fn cookie(value: &str, seconds: u64, headers: &HeaderMap) -> Option<HeaderValue> {
    let tls = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if tls { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE_NAME}={value}; Path=/dash; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    HeaderValue::try_from(text).ok()
}

/// Where to go after the login: a page of ours, never another site.
fn destination(to: Option<&str>) -> &str {
    let is_ours = |to: &&str| {
        let rest = to.strip_prefix(super::PATH);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && !to.contains("..")
            && !to.contains("//")
    };
    to.filter(is_ours).unwrap_or(super::PATH)
}

/// 303: what follows is a GET.
pub(super) fn moved(to: &str) -> Response {
    let Ok(to) = HeaderValue::try_from(to) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link to the login page cannot lead to another site afterwards.
    #[test]
    fn a_login_leads_to_pages_of_ours_only() {
        for ours in ["/dash", "/dash/hosts?status=active", "/dash?x=1", "/dash/host?name=a%20b"] {
            assert_eq!(destination(Some(ours)), ours);
        }
        for other in [
            "",
            "/",
            "/dashboard",
            "//evil.example",
            "https://evil.example/dash",
            "/dash/../x",
            "/dash//evil.example",
            "/dash/\\evil",
            "/dash/\r\nSet-Cookie: a=b",
            "/dash/ü",
        ] {
            assert_eq!(destination(Some(other)), "/dash", "{other}");
        }
        assert_eq!(destination(None), "/dash");
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_other_sites_and_plain_connections() {
        let mut headers = HeaderMap::new();
        let plain = cookie("v", 60, &headers).unwrap();
        assert_eq!(plain, "relay_dash=v; Path=/dash; Max-Age=60; HttpOnly; SameSite=Strict");
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        assert!(cookie("v", 60, &headers).unwrap().to_str().unwrap().ends_with("; Secure"));
    }
}
