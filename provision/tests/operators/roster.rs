//! `provision hosts`: from a relay and a file into another relay.

use std::fs;

use anyhow::Result;
use relay_simnet::Net;

use crate::{
    binaries,
    process::{PASSWORD, RelayProcess, Setup},
    program::{Said, provision},
};

async fn relay(net: &Net) -> Result<RelayProcess> {
    let setup = Setup { binary: Some(binaries::relay()?), ..Setup::default() };
    RelayProcess::start(net, setup).await
}

/// What another relay knows and a file says is shown, then added; the second run finds nothing new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_of_others_are_shown_then_added_once() -> Result<()> {
    let net = Net::seeded(321).await?;
    for name in ["alpha", "beta", "gamma"] {
        net.pds(name).await?;
    }
    let (theirs, ours) = (relay(&net).await?, relay(&net).await?);
    let names: Vec<String> = net.hosts().iter().map(relay_simnet::Pds::hostname).collect();
    theirs.add_hosts(&names[..2]).await?;
    ours.add_hosts(&names[..1]).await?;
    let dir = tempfile::tempdir()?;
    let list = dir.path().join("list.txt");
    fs::write(&list, format!("# by hand\n{}  # third\nno host\nlocalhost:1\n", names[2]))?;
    let env = dir.path().join("env");
    fs::write(
        &env,
        format!("RELAY_ADMIN_BIND={}\nRELAY_ALLOW_INSECURE_HOSTS=true\n", ours.admin_address()),
    )?;
    let password = dir.path().join("password");
    fs::write(&password, format!("{PASSWORD}\n"))?;
    let text = |path: &std::path::Path| path.display().to_string();
    let (list, env, password) = (text(&list), text(&env), text(&password));
    let url = theirs.url();
    let run = |more: &[&str]| -> Said {
        let base = ["hosts", &url, &list, "--env", &env, "--password-file", &password];
        provision(&[&base[..], more].concat())
    };

    let shown = run(&[]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let new: Vec<&str> = shown.out.lines().collect();
    assert!(new.len() == 3 && !new.contains(&names[0].as_str()), "{shown:?}");
    assert!(shown.err.contains("3 new, 1 known, 1 no names"), "{shown:?}");
    assert!(shown.err.contains("--add"), "{shown:?}");

    let added = run(&["--add", "--json"]).json();
    let of = |part: &str| added["added"][part].as_array().map(Vec::len);
    assert_eq!((of("added"), of("refused")), (Some(3), Some(0)), "{added}");
    let again = run(&["--add"]);
    assert!(again.out.is_empty() && again.err.contains("0 new, 4 known"), "{again:?}");
    let (_, listed) = ours.get("com.atproto.sync.listHosts?limit=10").await?;
    assert_eq!(listed["hosts"].as_array().map(Vec::len), Some(3), "{listed}");

    // A source that is away does not hide the others, and is told.
    let away =
        provision(&["hosts", "localhost:1", &list, "--env", &env, "--password-file", &password]);
    assert!(away.code == Some(1) && away.err.contains("localhost:1 gives no hosts"), "{away:?}");
    assert!(away.err.contains("list.txt: 3 names"), "{away:?}");
    fs::write(dir.path().join("password"), "wrong")?;
    let stranger = run(&[]);
    assert!(stranger.code == Some(1) && stranger.err.contains("this password"), "{stranger:?}");
    Ok(())
}
