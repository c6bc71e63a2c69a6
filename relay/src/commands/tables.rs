//! `relay tables`: what a start would do to the database; for those who plan an upgrade.

use super::print::{self, Ended};
use crate::{config::Config, store::Store};

pub(super) async fn run(config: &Config) -> Result<(), Ended> {
    let outlook =
        Store::outlook(config.database_url.expose()).await.map_err(|error| error.to_string())?;
    let number =
        |found: Option<i64>| found.map_or("none".to_owned(), |version| version.to_string());
    print::line(&format!(
        "found = {}  # version of the tables that are there",
        number(outlook.found)
    ))?;
    print::line(&format!(
        "readable_from = {}  # oldest version that works with these tables",
        number(outlook.readable_from)
    ))?;
    print::line(&format!("known = {}  # version of this program", outlook.known))?;
    print::line(&format!(
        "readable_from_known = {}  # oldest version that works with the tables of this program",
        outlook.readable_from_known
    ))
}
