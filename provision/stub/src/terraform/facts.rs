//! What a provider accepts, read from its file in `data`, and as messages for Terraform.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value as Json};

use super::wire;

/// One provider.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Its address, such as `registry.terraform.io/ovh/ovh`.
    pub(crate) address: String,
    /// Its own block.
    pub(crate) provider: Kind,
    pub(crate) resources: BTreeMap<String, Kind>,
    pub(crate) data_sources: BTreeMap<String, Kind>,
}

/// One kind of resource or data source: its schema, and what a schema cannot say.
#[derive(Debug)]
pub(crate) struct Kind {
    schema: Json,
    rules: Json,
}

/// Attributes and blocks that stand together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'f> {
    attributes: Option<&'f Map<String, Json>>,
    blocks: Option<&'f Map<String, Json>>,
}

/// An attribute or a kind of block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'f> {
    pub(crate) name: &'f str,
    pub(crate) is_block: bool,
    facts: &'f Json,
}

/// How the values of a nested member stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nesting {
    Single,
    /// A list or a set.
    Many,
    Map,
}

impl Facts {
    /// Reads a file of `data`.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut all: Json = serde_json::from_str(text).context("read the facts of a provider")?;
        let address = all.get("address").and_then(Json::as_str).context("no address")?.to_owned();
        let provider =
            Kind { schema: take(&mut all, "provider"), rules: take(&mut all, "provider_config") };
        let resources = kinds(take(&mut all, "resource_schemas"));
        let data_sources = kinds(take(&mut all, "data_source_schemas"));
        Ok(Self { address, provider, resources, data_sources })
    }

    /// Everything as Terraform asks for it.
    pub(crate) fn schemas(&self) -> wire::Schemas {
        let all = |kinds: &BTreeMap<String, Kind>| {
            kinds.iter().map(|(name, kind)| (name.clone(), kind.message())).collect()
        };
        wire::Schemas {
            provider: Some(self.provider.message()),
            resource_schemas: all(&self.resources),
            data_source_schemas: all(&self.data_sources),
        }
    }
}

fn take(all: &mut Json, key: &str) -> Json {
    all.get_mut(key).map(Json::take).unwrap_or_default()
}

fn kinds(all: Json) -> BTreeMap<String, Kind> {
    let Json::Object(all) = all else { return BTreeMap::new() };
    let kind = |mut both: Json| Kind {
        schema: take(&mut both, "schema"),
        rules: take(&mut both, "behaviour"),
    };
    all.into_iter().map(|(name, both)| (name, kind(both))).collect()
}

impl Kind {
    pub(crate) fn body(&self) -> Body<'_> {
        Body::of(self.schema.get("block"))
    }

    /// Whether it is made with the newer framework, which treats updates differently.
    pub(crate) fn is_framework(&self) -> bool {
        self.rules.get("framework").and_then(Json::as_bool).unwrap_or(false)
    }

    /// A rule of this name.
    pub(crate) fn rule(&self, name: &str) -> Option<&Json> {
        self.rules.get(name)
    }

    /// The words of a rule that is a list.
    pub(crate) fn words(&self, name: &str) -> Vec<&str> {
        words(self.rule(name))
    }

    /// The words of a rule that is a list of lists.
    pub(crate) fn groups(&self, name: &str) -> Vec<Vec<&str>> {
        let all = self.rule(name).and_then(Json::as_array);
        all.into_iter().flatten().map(|group| words(Some(group))).collect()
    }

    /// The entries of a rule that is a table.
    pub(crate) fn table(&self, name: &str) -> impl Iterator<Item = (&str, &Json)> {
        let all = self.rule(name).and_then(Json::as_object);
        all.into_iter().flatten().map(|(path, value)| (path.as_str(), value))
    }

    fn message(&self) -> wire::Schema {
        let version = self.schema.get("version").and_then(Json::as_i64).unwrap_or(0);
        wire::Schema { version, block: Some(self.body().message()) }
    }
}

fn words(list: Option<&Json>) -> Vec<&str> {
    list.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
}

impl<'f> Body<'f> {
    fn of(block: Option<&'f Json>) -> Self {
        let part = |key: &str| block.and_then(|block| block.get(key)).and_then(Json::as_object);
        Self { attributes: part("attributes"), blocks: part("block_types") }
    }

    pub(crate) fn members(self) -> impl Iterator<Item = Member<'f>> {
        let of = |all: Option<&'f Map<String, Json>>, is_block| {
            let all = all.into_iter().flatten();
            all.map(move |(name, facts)| Member { name, is_block, facts })
        };
        of(self.attributes, false).chain(of(self.blocks, true))
    }

    fn message(self) -> wire::Block {
        let (blocks, attributes): (Vec<_>, Vec<_>) =
            self.members().partition(|member| member.is_block);
        wire::Block {
            attributes: attributes.iter().map(Member::attribute).collect(),
            block_types: blocks.iter().map(Member::block).collect(),
            ..wire::Block::default()
        }
    }
}

impl<'f> Member<'f> {
    pub(crate) fn is(&self, flag: &str) -> bool {
        self.facts.get(flag).and_then(Json::as_bool).unwrap_or(false)
    }

    /// The type, for example `"number"` or `["list", "string"]`.
    pub(crate) fn kind(&self) -> &'f Json {
        self.facts.get("type").unwrap_or(&Json::Null)
    }

    /// What stands inside.
    pub(crate) fn inner(&self) -> Option<(Nesting, Body<'f>)> {
        let (holder, body) = if self.is_block {
            (self.facts, Body::of(self.facts.get("block")))
        } else {
            let nested = self.facts.get("nested_type")?;
            (nested, Body::of(Some(nested)))
        };
        let nesting = match holder.get("nesting_mode").and_then(Json::as_str)? {
            "list" | "set" => Nesting::Many,
            "map" => Nesting::Map,
            _ => Nesting::Single,
        };
        Some((nesting, body))
    }

    fn number(&self, key: &str) -> i64 {
        self.facts.get(key).and_then(Json::as_i64).unwrap_or(0)
    }

    fn attribute(&self) -> wire::Attribute {
        let nested_type = self.facts.get("nested_type").map(|nested| wire::Object {
            attributes: Body::of(Some(nested)).members().map(|m| m.attribute()).collect(),
            nesting: nesting_number(nested),
        });
        let kind = if nested_type.is_some() { String::new() } else { self.kind().to_string() };
        wire::Attribute {
            name: self.name.to_owned(),
            kind: kind.into_bytes(),
            required: self.is("required"),
            optional: self.is("optional"),
            computed: self.is("computed"),
            sensitive: self.is("sensitive"),
            deprecated: self.is("deprecated"),
            nested_type,
        }
    }

    fn block(&self) -> wire::NestedBlock {
        wire::NestedBlock {
            type_name: self.name.to_owned(),
            block: self.inner().map(|(_, body)| body.message()),
            nesting: nesting_number(self.facts),
            min_items: self.number("min_items"),
            max_items: self.number("max_items"),
        }
    }
}

/// The protocol's number; the same for blocks and for attributes.
fn nesting_number(holder: &Json) -> i32 {
    match holder.get("nesting_mode").and_then(Json::as_str) {
        Some("single") => 1,
        Some("list") => 2,
        Some("set") => 3,
        Some("map") => 4,
        _ => 5,
    }
}
