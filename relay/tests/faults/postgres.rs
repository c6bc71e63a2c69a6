//! Postgres goes, comes back, is slow, or says nothing.

use anyhow::{Result, ensure};

use crate::{
    postgres_cluster::Cluster,
    process::Setup,
    scene::{Scene, traffic},
};

/// I1–I4, DESIGN 10.5: while Postgres is stopped what is known goes on and what is not waits; health
/// says so; afterwards everything is out once and the checkpoint is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_that_is_stopped_and_started_under_load_costs_no_event() -> Result<()> {
    let Some(cluster) = Cluster::start() else { return Ok(()) };
    let url = cluster.database("relay");
    let settings = [("DATABASE_URL", url.as_str())];
    let setup = Setup { settings: &settings, ..Setup::default() };
    let mut scene = Scene::start(401, traffic(), setup).await?;

    for _ in 0..2 {
        cluster.stop();
        scene.relay.health(503).await?;
        scene.flows(200).await?;
        cluster.resume();
        scene.relay.health(200).await?;
        scene.flows(200).await?;
    }

    let mut ended = scene.end().await?;
    ended.counted().await?;
    ensure!(ended.report.matched > 1_000, "{}", ended.report);
    ended.relay.stop().await
}
