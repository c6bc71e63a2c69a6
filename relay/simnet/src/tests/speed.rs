//! How fast the load is made; measures, and is therefore not run by default.

use crate::*;
use anyhow::Result;
use tokio::time::Instant;

/// Issue 4: generating is to cost less than the relay that is measured with it.
#[tokio::test]
#[ignore = "measures; run it with --release on a quiet machine"]
async fn a_load_makes_three_thousand_events_per_second() -> Result<()> {
    for (accounts, records) in [(1_000, 20), (100, 400)] {
        let net = Net::seeded(1).await?;
        let options = LoadOptions { hosts: 20, accounts, records, ..LoadOptions::default() };
        let begin = Instant::now();
        let mut load = Load::prepare(&net, options).await?;
        println!("{accounts} accounts of about {records} records in {:?}", begin.elapsed());

        let begin = Instant::now();
        load.send(20_000).await?;
        let rate = 20_000.0 / begin.elapsed().as_secs_f64();
        println!("{rate:.0} events/s made and sent");

        let mut prepared = load.pregenerate(20_000).await?;
        println!("{} bytes per frame", prepared.bytes() / 20_000);
        let begin = Instant::now();
        prepared.play(20_000).await;
        println!("{:.0} events/s played", 20_000.0 / begin.elapsed().as_secs_f64());
        assert!(rate > 3_000.0, "{rate:.0} events/s");
    }
    Ok(())
}
