//! A bucket as S3-compatible services have it, as far as Terraform's state needs it: objects, and writes
//! that only succeed when nothing is there.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, runtime::Runtime};

/// Largest object.
const OBJECT_MAX: usize = 16 << 20;

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// The service, until it is dropped.
#[derive(Debug)]
pub struct Bucket {
    address: SocketAddr,
    objects: Objects,
    _runtime: Runtime,
}

impl Bucket {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start a runtime")?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("find a port")?;
        let address = listener.local_addr().context("find a port")?;
        let objects = Objects::default();
        let routes = Router::new().fallback(handle).with_state(Arc::clone(&objects));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, objects, _runtime: runtime })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Names of all objects, with the bucket's: `relay-state/hil.tfstate`.
    pub fn names(&self) -> Vec<String> {
        self.objects.lock().keys().cloned().collect()
    }

    /// An object's text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.objects.lock().get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Writes an object, as somebody else would.
    pub fn put(&self, name: &str, text: &str) {
        self.objects.lock().insert(name.to_owned(), text.as_bytes().to_vec());
    }

    /// Deletes an object.
    pub fn delete(&self, name: &str) {
        self.objects.lock().remove(name);
    }
}

async fn handle(State(objects): State<Objects>, request: Request) -> Response {
    let method = request.method().clone();
    let name = request.uri().path().trim_matches('/').to_owned();
    let only_new = request.headers().contains_key(header::IF_NONE_MATCH);
    let Ok(body) = axum::body::to_bytes(request.into_body(), OBJECT_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut objects = objects.lock();
    match method {
        // A bucket is listed by its own name.
        Method::GET if !name.contains('/') => {
            let text = format!(
                "<ListBucketResult><Name>{name}</Name><KeyCount>0</KeyCount></ListBucketResult>"
            );
            xml(StatusCode::OK, text)
        }
        Method::GET | Method::HEAD => match objects.get(&name) {
            Some(bytes) => (StatusCode::OK, bytes.clone()).into_response(),
            None => refusal(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        Method::PUT if only_new && objects.contains_key(&name) => {
            refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed")
        }
        Method::PUT => {
            objects.insert(name, body.to_vec());
            StatusCode::OK.into_response()
        }
        Method::DELETE => {
            objects.remove(&name);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}

fn refusal(status: StatusCode, code: &str) -> Response {
    xml(status, format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
}

fn xml(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/xml")], text).into_response()
}
