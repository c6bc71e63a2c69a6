//! Who decided something. Pure.

use std::fmt;

/// Longest name of an actor that is kept, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Who decided something about a host, a domain or an account; kept with each decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person at the admin API or the page, by the name that goes with the password.
    Admin(Box<str>),
    /// The policy file.
    Policy,
    /// This relay by a rule of its own, such as a quota.
    Relay,
    /// Another relay of the same operator, by its name.
    Sibling(Box<str>),
}

impl Actor {
    /// A person; of the name 64 characters count, none of them a control character.
    pub fn admin(name: &str) -> Self {
        Self::Admin(kept(name))
    }

    /// Another relay; its name is cut in the same way.
    pub fn sibling(name: &str) -> Self {
        Self::Sibling(kept(name))
    }

    /// Reverse of the text form; `None` for a text that we never wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("admin", name)) => Some(Self::admin(name)),
            Some(("sibling", name)) => Some(Self::sibling(name)),
            None if text == "policy" => Some(Self::Policy),
            None if text == "relay" => Some(Self::Relay),
            Some(_) | None => None,
        }
    }
}

fn kept(name: &str) -> Box<str> {
    name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect()
}

/// `admin:NAME`, `policy`, `relay`, `sibling:NAME`: for the store and for people.
impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin(name) => write!(out, "admin:{name}"),
            Self::Policy => out.write_str("policy"),
            Self::Relay => out.write_str("relay"),
            Self::Sibling(name) => write!(out, "sibling:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written is read again; a name from outside stays short and fit for a line of a log.
    #[test]
    fn actors_come_back_from_their_text() {
        let long = Actor::admin(&format!("a:b\n{}", "x".repeat(100)));
        for actor in [Actor::Policy, Actor::Relay, Actor::sibling("b.example"), long] {
            let text = actor.to_string();
            assert_eq!(Actor::from_text(&text), Some(actor));
            assert!(text.len() < 80 && !text.contains('\n'), "{text}");
        }
        assert_eq!(Actor::from_text("root"), None);
        assert_eq!(Actor::from_text("root:me"), None);
    }
}
