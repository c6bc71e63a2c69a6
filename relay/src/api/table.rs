//! Routes that can be listed: what is in the router is in the list, and the reverse.
//!
//! A router cannot tell its routes. Tests ask this one: that each is behind the password, that the
//! description that the API gives of itself has them all.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodRouter, get, post},
};

use super::ApiState;

/// Routes under way to a router.
#[derive(Debug, Default)]
pub(super) struct Table {
    router: Router<ApiState>,
    listed: Vec<(&'static str, &'static str)>,
}

impl Table {
    /// Adds a GET.
    pub(super) fn get<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.add("GET", path, get(handler))
    }

    /// Adds a POST.
    pub(super) fn post<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        self.add("POST", path, post(handler))
    }

    fn add(
        mut self,
        method: &'static str,
        path: &'static str,
        handler: MethodRouter<ApiState>,
    ) -> Self {
        self.listed.push((method, path));
        Self { router: self.router.route(path, handler), listed: self.listed }
    }

    /// Methods and paths, in the order in which they were added.
    pub(super) fn listed(&self) -> &[(&'static str, &'static str)] {
        &self.listed
    }

    /// The router.
    pub(super) fn router(self) -> Router<ApiState> {
        self.router
    }
}
