//! What a provider answers when Terraform asks what a change would do.

use rmpv::Value;

use super::{
    facts::{Kind, Member},
    value::{at, from_json, is_known, member, rebuild, unknown},
};

/// A change that was thought through.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) planned: Value,
    /// Attributes and blocks whose change needs a new resource.
    pub(crate) replaced_by: Vec<String>,
}

/// Plans a change from `prior` to `proposed`; `config` is what is written.
pub(crate) fn change(kind: &Kind, prior: &Value, proposed: &Value, config: &Value) -> Change {
    if proposed.is_nil() {
        return Change { planned: Value::Nil, replaced_by: Vec::new() };
    }
    let with_defaults = rebuild(kind.body(), proposed, "", &mut |part, path, value| {
        default(kind, part, path).filter(|_| value.is_nil()).unwrap_or(value)
    });
    if prior.is_nil() {
        let planned = open(kind, &with_defaults, &|_| true, config);
        return Change { planned, replaced_by: Vec::new() };
    }
    let kept = paired(kind, prior, with_defaults);
    let planned = if kind.is_framework() && kept != *prior {
        let keeps = kind.words("keeps_prior");
        let reset = forget(kind, &kept, &keeps, config);
        open(kind, &reset, &|path| !keeps.contains(&path), config)
    } else {
        kept
    };
    let replaced_by = replaced_by(kind, prior, &planned);
    Change { planned, replaced_by }
}

/// The value that is planned when nothing is written.
fn default(kind: &Kind, part: &Member<'_>, path: &str) -> Option<Value> {
    if part.is_block {
        return None;
    }
    kind.table("defaults").find(|(name, _)| *name == path).map(|(_, value)| from_json(value))
}

/// Makes unknown what only the provider can tell and nothing tells yet.
fn open(kind: &Kind, value: &Value, may: &dyn Fn(&str) -> bool, config: &Value) -> Value {
    rebuild(kind.body(), value, "", &mut |part, path, value| {
        if !part.is("computed") || !value.is_nil() || !may(path) {
            return value;
        }
        let with = kind.table("null_without").find(|(name, _)| *name == path).map(|(_, with)| with);
        match with.and_then(serde_json::Value::as_str) {
            Some(with) if !is_known(member(config, with)) => value,
            _ => unknown(),
        }
    })
}

/// Takes away what the last apply told and the next one may tell differently.
fn forget(kind: &Kind, value: &Value, keeps: &[&str], config: &Value) -> Value {
    rebuild(kind.body(), value, "", &mut |part, path, value| {
        let written = at(config, path).into_iter().any(|value| !value.is_nil());
        if part.is("computed") && !keeps.contains(&path) && !written { Value::Nil } else { value }
    })
}

/// Gives back the old element of a set of blocks where all that is written is the same: Terraform does
/// not find it, because the provider has filled in the rest.
fn paired(kind: &Kind, prior: &Value, proposed: Value) -> Value {
    let Value::Map(members) = proposed else { return proposed };
    let blocks: Vec<_> = kind.body().members().filter(|part| part.is_block).collect();
    let members = members.into_iter().map(|(key, value)| {
        let part = blocks.iter().find(|part| key.as_str() == Some(part.name));
        let old = part.and_then(|part| member(prior, part.name).as_array());
        let (Some(old), Some((_, body)), Value::Array(new)) =
            (old, part.and_then(Member::inner), &value)
        else {
            return (key, value);
        };
        let same = |one: &Value, other: &Value| {
            body.members().all(|part| {
                let (one, other) = (member(one, part.name), member(other, part.name));
                one == other || (part.is("computed") && one.is_nil())
            })
        };
        let new =
            new.iter().map(|one| old.iter().find(|other| same(one, other)).unwrap_or(one).clone());
        let new = Value::Array(new.collect());
        (key, new)
    });
    Value::Map(members.collect())
}

/// The outermost names: steps into a set cannot be said.
fn replaced_by(kind: &Kind, prior: &Value, planned: &Value) -> Vec<String> {
    let mut names: Vec<String> = kind
        .words("requires_replace")
        .into_iter()
        .filter(|path| at(prior, path) != at(planned, path))
        .filter_map(|path| path.split('.').next().map(ToOwned::to_owned))
        .collect();
    names.dedup();
    names
}
