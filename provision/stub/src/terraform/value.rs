//! Values as Terraform sends them.

use rmpv::Value;
use serde_json::Value as Json;

use super::{
    facts::{Body, Member, Nesting},
    wire::DynamicValue,
};

/// What is not known before it is done.
pub(crate) fn unknown() -> Value {
    Value::Ext(0, vec![0])
}

pub(crate) fn is_unknown(value: &Value) -> bool {
    matches!(value, Value::Ext(..))
}

/// Whether there is something that can be judged.
pub(crate) fn is_known(value: &Value) -> bool {
    !value.is_nil() && !is_unknown(value)
}

/// Reads what came over the wire.
pub(crate) fn decode(raw: Option<&DynamicValue>) -> Result<Value, String> {
    let Some(raw) = raw else { return Ok(Value::Nil) };
    if raw.msgpack.is_empty() {
        return Ok(Value::Nil);
    }
    rmpv::decode::read_value(&mut raw.msgpack.as_slice()).map_err(|error| error.to_string())
}

/// Prepares a value for the wire.
pub(crate) fn encode(value: &Value) -> Option<DynamicValue> {
    let mut msgpack = Vec::new();
    rmpv::encode::write_value(&mut msgpack, value).ok()?;
    Some(DynamicValue { msgpack, json: Vec::new() })
}

/// A member of an object.
pub(crate) fn member<'v>(object: &'v Value, name: &str) -> &'v Value {
    let members = object.as_map().into_iter().flatten();
    members
        .filter(|(key, _)| key.as_str() == Some(name))
        .map(|(_, value)| value)
        .next()
        .unwrap_or(&Value::Nil)
}

/// All values at a dotted path, through lists and sets.
pub(crate) fn at<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    let mut found = vec![value];
    for name in path.split('.') {
        found = found.into_iter().flat_map(elements).map(|object| member(object, name)).collect();
    }
    found
}

/// The elements of a list; a value alone is its own only element.
pub(crate) fn elements(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |all| all.iter().collect())
}

/// Builds a value anew: `change` sees each attribute with its dotted path and what it was.
pub(crate) fn rebuild(
    body: Body<'_>,
    value: &Value,
    path: &str,
    change: &mut dyn FnMut(&Member<'_>, &str, Value) -> Value,
) -> Value {
    if !is_known(value) {
        return value.clone();
    }
    let members = body.members().map(|part| {
        let path =
            if path.is_empty() { part.name.to_owned() } else { format!("{path}.{}", part.name) };
        let mut new = member(value, part.name).clone();
        if !part.is_block {
            new = change(&part, &path, new);
        }
        if let Some((nesting, inner)) = part.inner()
            && is_known(&new)
        {
            new = rebuild_inside(nesting, inner, new, &path, change);
        }
        (Value::from(part.name), new)
    });
    Value::Map(members.collect())
}

fn rebuild_inside(
    nesting: Nesting,
    body: Body<'_>,
    value: Value,
    path: &str,
    change: &mut dyn FnMut(&Member<'_>, &str, Value) -> Value,
) -> Value {
    match (nesting, value) {
        (Nesting::Many, Value::Array(all)) => {
            Value::Array(all.iter().map(|one| rebuild(body, one, path, change)).collect())
        }
        (Nesting::Map, Value::Map(all)) => {
            let all = all.into_iter().map(|(key, one)| (key, rebuild(body, &one, path, change)));
            Value::Map(all.collect())
        }
        (_, value) => rebuild(body, &value, path, change),
    }
}

/// A value from JSON, for attributes without a schema of their own.
pub(crate) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(yes) => Value::from(*yes),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::Nil,
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(all) => Value::Array(all.iter().map(from_json).collect()),
        Json::Object(all) => Value::Map(
            all.iter().map(|(key, one)| (Value::from(key.as_str()), from_json(one))).collect(),
        ),
    }
}

/// A value as JSON, for people and tests; what is not known is `"(unknown)"`.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Boolean(yes) => Json::from(*yes),
        Value::Integer(number) => number.as_i64().map_or(Json::Null, Json::from),
        Value::F32(number) => Json::from(*number),
        Value::F64(number) => Json::from(*number),
        Value::String(text) => Json::from(text.as_str().unwrap_or_default()),
        Value::Binary(_) | Value::Ext(..) => Json::from("(unknown)"),
        Value::Array(all) => all.iter().map(to_json).collect(),
        Value::Map(all) => {
            let all = all
                .iter()
                .map(|(key, one)| (key.as_str().unwrap_or_default().to_owned(), to_json(one)));
            Json::Object(all.collect())
        }
    }
}

/// A value with every member that the schema has, from JSON that has only some of them.
pub(crate) fn shaped(body: Body<'_>, json: &Json) -> Value {
    let members = body.members().map(|part| {
        let given = json.get(part.name).unwrap_or(&Json::Null);
        let value = match (part.inner(), given) {
            (Some((Nesting::Many, inner)), Json::Array(all)) => {
                Value::Array(all.iter().map(|one| shaped(inner, one)).collect())
            }
            (Some((Nesting::Single, inner)), Json::Object(_)) => shaped(inner, given),
            (Some((Nesting::Many, _)), _) if part.is_block => Value::Array(Vec::new()),
            _ => from_json(given),
        };
        (Value::from(part.name), value)
    });
    Value::Map(members.collect())
}
