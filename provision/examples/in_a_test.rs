//! How a test of another project uses the stack: `provision` is a dev-dependency of it, by git.
//!
//! ```toml
//! [dev-dependencies]
//! provision = { git = "…" }
//! ```
//!
//! `cargo test -p provision --example in_a_test -- --ignored` runs it here.

fn main() {}

#[cfg(test)]
mod tests {
    use anyhow::Result;
    use provision::stack::{Options, Stack};

    /// A post of an account is in the relay's firehose, signed by the account's own key.
    #[tokio::test]
    #[ignore = "needs a container engine: just stage build,stack"]
    async fn a_post_reaches_the_firehose() -> Result<()> {
        // A name of its own, so that tests run side by side. What this makes is gone when `stack` is
        // dropped, also when the test panics.
        let name = format!("example-{}", std::process::id());
        let mut options = Options::named(name);
        options.relay = std::env::var_os("RELAY_BINARY").map(Into::into);
        options.cache = std::env::var_os("PROVISION_CACHE_DIR").map(Into::into);
        let stack = Stack::up(options).await?;

        let account = stack.account("someone").await?;
        let mut firehose = stack.firehose(Some(0)).await?;
        let record = stack.post(&account, "hello").await?;

        let key = stack.key(&account).await?;
        let commit = loop {
            let commit = firehose.next_commit().await?;
            if commit.did == account.did && commit.rev == record.rev {
                break commit;
            }
        };
        commit.verify(&key)?;

        // The admin API, with its password: what the relay knows of the PDS.
        let hosts = stack.admin("/admin/v1/hosts").await?;
        assert_eq!(hosts["hosts"][0]["hostname"], "pds.test");
        Ok(())
    }
}
