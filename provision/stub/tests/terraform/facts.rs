//! The facts of the providers that are kept here, beside those of the whole providers.

use std::path::PathBuf;

use provision_stub::terraform::DATA;
use serde_json::Value as Json;

use super::ground::root;

/// Where the whole providers' facts are looked for, unless `ATPROTO_TERRAFORM_DIR` names them.
const BESIDE_THE_CHECKOUT: &str = "../shared/data/terraform";

fn whole(name: &str, what: &str) -> Option<Json> {
    let directory = std::env::var_os("ATPROTO_TERRAFORM_DIR")
        .map_or_else(|| root().join(BESIDE_THE_CHECKOUT), PathBuf::from);
    let text = std::fs::read_to_string(directory.join(format!("{name}.{what}.json"))).ok()?;
    Some(serde_json::from_str(&text).expect("facts are JSON"))
}

/// A test against wrong facts would pass for what a real provider refuses.
#[test]
fn the_kept_facts_are_those_of_the_providers() {
    for (name, text) in DATA {
        let (Some(schema), Some(behaviour)) = (whole(name, "schema"), whole(name, "behaviour"))
        else {
            println!("skipped: the facts of the whole provider {name} are not on this machine");
            continue;
        };
        let kept: Json = serde_json::from_str(text).expect("facts are JSON");
        let address = kept.get("address").and_then(Json::as_str).expect("an address");
        let all = schema
            .pointer("/provider_schemas")
            .and_then(|all| all.get(address))
            .expect("the provider");
        assert_eq!(kept.get("provider"), all.get("provider"), "{name}");
        assert_eq!(kept.get("provider_config"), behaviour.get("provider_config"), "{name}");
        for (kinds, rules) in
            [("resource_schemas", "resources"), ("data_source_schemas", "data_sources")]
        {
            let kept = kept.get(kinds).and_then(Json::as_object).expect("kinds");
            assert!(!kept.is_empty());
            for (kind, facts) in kept {
                assert_eq!(
                    facts.get("schema"),
                    all.get(kinds).and_then(|all| all.get(kind)),
                    "{kind}"
                );
                let rules = behaviour.get(rules).and_then(|all| all.get(kind));
                let empty = Json::Object(serde_json::Map::new());
                assert_eq!(facts.get("behaviour"), Some(rules.unwrap_or(&empty)), "{kind}");
            }
        }
    }
}
