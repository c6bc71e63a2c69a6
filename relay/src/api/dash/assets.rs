//! The files of the page, part of the program, with a tag by which a browser keeps them.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use sha2::{Digest as _, Sha256};

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/css; charset=utf-8", include_str!("assets/style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/javascript; charset=utf-8", include_str!("assets/live.js")));
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("image/svg+xml", include_str!("assets/icon.svg")));

struct Asset {
    kind: &'static str,
    text: &'static str,
    tag: String,
}

impl Asset {
    fn new(kind: &'static str, text: &'static str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let tag = HEXLOWER.encode(digest.first_chunk::<16>().map_or(&[], |part| &part[..]));
        Self { kind, text, tag: format!("\"{tag}\"") }
    }

    /// 304 without a body when the browser has this very file.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
        let is_known = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == self.tag));
        let mut response = if is_known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, self.kind)], self.text).into_response()
        };
        let headers = response.headers_mut();
        // Asked again each time, so that a new version of the relay is seen at once.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.extend(HeaderValue::try_from(&self.tag).ok().map(|tag| (ETAG, tag)));
        response
    }
}

/// `GET /dash/style.css`, `GET /status.css`.
pub(super) async fn style(headers: HeaderMap) -> Response {
    STYLE.answer(&headers)
}

/// `GET /dash/live.js`.
pub(super) async fn script(headers: HeaderMap) -> Response {
    SCRIPT.answer(&headers)
}

/// `GET /dash/icon.svg`.
pub(super) async fn icon(headers: HeaderMap) -> Response {
    ICON.answer(&headers)
}
