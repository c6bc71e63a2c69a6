//! What the relay serves to the public, read from where it says so.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::binaries;

/// The path of the firehose.
pub(crate) const FIREHOSE: &str = "/xrpc/com.atproto.sync.subscribeRepos";

/// All paths of the relay's public router, sorted.
///
/// # Errors
/// When the router takes in routes from a place that is not known here: then this function must
/// learn of it, because a path that it misses is a path that nobody reaches.
pub(crate) fn public() -> Result<Vec<String>> {
    let api = source("api.rs")?;
    let body = between(&api, "pub fn public_router", "\n}\n").context("no `public_router`")?;
    let mut routes = literals(body, ".route(");
    for merged in body.split(".merge(").skip(1) {
        let parts = [
            ("xrpc::routes())", "api/xrpc.rs", "fn routes()"),
            ("dash::public_routes())", "api/dash.rs", "fn public_routes()"),
        ];
        let part = parts.into_iter().find(|(call, _, _)| merged.starts_with(call));
        if let Some((call, file, begin)) = part {
            let text = source(file)?;
            let body = between(&text, begin, "\n}\n").with_context(|| format!("no {call}"))?;
            routes.extend(literals(body, ".route("));
        } else {
            ensure!(
                merged.starts_with("state.firehose.router())"),
                "the public router merges routes that this test does not read: {merged}"
            );
            let firehose = source("firehose.rs")?;
            routes.extend(literals(&firehose, "pub const PATH: &str = "));
        }
    }
    ensure!(routes.iter().any(|route| route == FIREHOSE), "the firehose is not among {routes:?}");
    routes.sort();
    Ok(routes)
}

fn source(path: &str) -> Result<String> {
    let path = binaries::root().join("relay/src").join(path);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

fn between<'t>(text: &'t str, from: &str, to: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(body, _)| body)
}

/// The text in quotes after each of these words.
fn literals(text: &str, before: &str) -> Vec<String> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"'))
        .map(|(literal, _)| literal.to_owned())
        .collect()
}
