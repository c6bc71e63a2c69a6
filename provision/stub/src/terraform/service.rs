//! The plugin protocol's methods.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rmpv::Value;
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    codegen::http,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::{
    Inner,
    facts::Kind,
    plan, rules,
    value::{decode, encode, member},
    wire::{self, Diagnostic},
};

/// Longest message; a plan with a large file in it is far below.
const MESSAGE_MAX: usize = 64 << 20;

/// Serves one provider.
#[derive(Debug, Clone)]
pub(crate) struct Service(pub(crate) Arc<Inner>);

impl NamedService for Service {
    const NAME: &'static str = "tfplugin6.Provider";
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let inner = Arc::clone(&self.0);
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        match method.as_str() {
            "GetProviderSchema" => unary(request, move |_: wire::Empty| inner.facts.schemas()),
            "ValidateProviderConfig" => unary(request, move |asked| inner.provider_config(&asked)),
            "ConfigureProvider" => unary(request, move |asked| inner.configure(&asked)),
            "ValidateResourceConfig" => unary(request, move |asked| inner.validate(&asked, true)),
            "ValidateDataResourceConfig" => {
                unary(request, move |asked| inner.validate(&asked, false))
            }
            "UpgradeResourceState" => unary(request, |asked: wire::Upgrade| upgrade(asked)),
            "ReadResource" => unary(request, move |asked| inner.read(&asked)),
            "PlanResourceChange" => unary(request, move |asked| inner.plan(&asked)),
            "ApplyResourceChange" => unary(request, move |asked| inner.apply(&asked)),
            "ReadDataSource" => unary(request, move |asked| inner.find(&asked)),
            "StopProvider" => unary(request, |_: wire::Empty| wire::Stopped::default()),
            _ => Box::pin(ready(Ok(Status::new(Code::Unimplemented, method).into_http()))),
        }
    }
}

/// A method as the library wants it.
struct Method<F>(F);

impl<Asked, Given, F: Fn(Asked) -> Given> UnaryService<Asked> for Method<F> {
    type Response = Given;
    type Future = Ready<Result<Response<Given>, Status>>;

    fn call(&mut self, request: Request<Asked>) -> Self::Future {
        ready(Ok(Response::new((self.0)(request.into_inner()))))
    }
}

fn unary<Asked, Given, F>(request: http::Request<Body>, method: F) -> Answer
where
    Asked: prost::Message + Default + 'static,
    Given: prost::Message + 'static,
    F: Fn(Asked) -> Given + Send + 'static,
{
    Box::pin(async move {
        let mut server =
            Grpc::new(ProstCodec::<Given, Asked>::default()).max_decoding_message_size(MESSAGE_MAX);
        Ok(server.unary(Method(method), request).await)
    })
}

/// The schemas did not change, so a stored state is good as it is.
fn upgrade(asked: wire::Upgrade) -> wire::State {
    let json = asked.raw_state.unwrap_or_default().json;
    let state = Some(wire::DynamicValue { msgpack: Vec::new(), json });
    wire::State { state, diagnostics: Vec::new() }
}

fn errors(wrong: Vec<String>) -> Vec<Diagnostic> {
    wrong.into_iter().map(Diagnostic::error).collect()
}

/// A state, or why there is none.
fn state(result: Result<Value, String>) -> wire::State {
    match result {
        Ok(value) => wire::State { state: encode(&value), diagnostics: Vec::new() },
        Err(why) => wire::State { state: None, diagnostics: errors(vec![why]) },
    }
}

impl Inner {
    fn resource(&self, name: &str) -> Result<&Kind, String> {
        self.facts.resources.get(name).ok_or_else(|| format!("there is no resource {name}"))
    }

    fn data_source(&self, name: &str) -> Result<&Kind, String> {
        self.facts.data_sources.get(name).ok_or_else(|| format!("there is no data source {name}"))
    }

    fn provider_config(&self, asked: &wire::ProviderConfig) -> wire::ProviderConfigChecked {
        let wrong = match decode(asked.config.as_ref()) {
            Ok(config) => rules::check(&self.facts.address, &self.facts.provider, &config),
            Err(why) => vec![why],
        };
        wire::ProviderConfigChecked { diagnostics: errors(wrong) }
    }

    /// Refuses missing credentials, as far as the real provider does before its first request.
    fn configure(&self, asked: &wire::Configure) -> wire::Checked {
        let config = match decode(asked.config.as_ref()) {
            Ok(config) => config,
            Err(why) => return wire::Checked { diagnostics: errors(vec![why]) },
        };
        let text = |name: &str| member(&config, name).as_str().unwrap_or_default().len();
        let wrong = if self.facts.address.ends_with("/hcloud") {
            match text("token") {
                64 => None,
                0 if self.has_credentials => None,
                0 => Some(
                    "missing required argument: token, or the environment variable HCLOUD_TOKEN",
                ),
                _ => Some("entered token is invalid (must be exactly 64 characters long)"),
            }
        } else if self.facts.address.ends_with("/ovh") {
            let ignores = member(&config, "ignore_init_error").as_bool() == Some(true);
            let given = text("application_key") + text("client_id") + text("access_token");
            let is_there = ignores || self.has_credentials || given > 0;
            (!is_there).then_some("the OVH API client has no credentials")
        } else {
            None
        };
        wire::Checked { diagnostics: errors(wrong.map(ToOwned::to_owned).into_iter().collect()) }
    }

    fn validate(&self, asked: &wire::Config, is_resource: bool) -> wire::Checked {
        let name = &asked.type_name;
        let kind = if is_resource { self.resource(name) } else { self.data_source(name) };
        let wrong = kind.and_then(|kind| {
            let config = decode(asked.config.as_ref())?;
            Ok(rules::check(name, kind, &config))
        });
        wire::Checked { diagnostics: errors(wrong.unwrap_or_else(|why| vec![why])) }
    }

    fn read(&self, asked: &wire::Read) -> wire::State {
        let current = decode(asked.current_state.as_ref());
        state(current.map(|current| self.world.lock().read(&asked.type_name, &current)))
    }

    fn plan(&self, asked: &wire::Plan) -> wire::Planned {
        let planned = self.resource(&asked.type_name).and_then(|kind| {
            let prior = decode(asked.prior_state.as_ref())?;
            let proposed = decode(asked.proposed.as_ref())?;
            let config = decode(asked.config.as_ref())?;
            Ok((plan::change(kind, &prior, &proposed, &config), !kind.is_framework()))
        });
        match planned {
            Ok((change, legacy_type_system)) => wire::Planned {
                planned_state: encode(&change.planned),
                requires_replace: change.replaced_by.into_iter().map(path).collect(),
                legacy_type_system,
                diagnostics: Vec::new(),
            },
            Err(why) => {
                wire::Planned { diagnostics: errors(vec![why]), ..wire::Planned::default() }
            }
        }
    }

    fn apply(&self, asked: &wire::Apply) -> wire::Applied {
        let name = &asked.type_name;
        let prior = decode(asked.prior_state.as_ref());
        let applied = self.resource(name).and_then(|kind| {
            let planned = decode(asked.planned_state.as_ref())?;
            let state = self.world.lock().apply(name, kind, &prior.clone()?, &planned)?;
            Ok((state, !kind.is_framework()))
        });
        match applied {
            Ok((state, legacy_type_system)) => wire::Applied {
                new_state: encode(&state),
                legacy_type_system,
                diagnostics: Vec::new(),
            },
            // What could not be changed is as it was.
            Err(why) => wire::Applied {
                new_state: prior.ok().as_ref().and_then(encode),
                diagnostics: errors(vec![why]),
                legacy_type_system: true,
            },
        }
    }

    fn find(&self, asked: &wire::Config) -> wire::State {
        let name = &asked.type_name;
        state(self.data_source(name).and_then(|kind| {
            let config = decode(asked.config.as_ref())?;
            self.world.lock().find(name, kind, &config)
        }))
    }
}

fn path(name: String) -> wire::AttributePath {
    wire::AttributePath { steps: vec![wire::Step { attribute_name: Some(name) }] }
}
