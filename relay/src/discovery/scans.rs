//! When the operations of the PLC directory are read: when an operator asks, and on after a restart.

use super::{
    Discovery, Pull,
    directory::{DIRECTORY, Scan},
    measure_running,
};
use crate::store::{PullRow, ScanWish, StoreError};

impl Discovery {
    /// Reads the operations of the PLC directory from where they were left; each host that they name and
    /// that is not known becomes a candidate. What was begun goes on after a restart. Gives `false` when
    /// it is under way already.
    ///
    /// # Errors
    /// [`StoreError`]: a restart would forget it; nothing was begun.
    pub async fn scan_directory(&self, wish: ScanWish) -> Result<bool, StoreError> {
        let parts = &self.inner.parts;
        let row = {
            let pulls = self.inner.pulls.lock();
            let known = pulls.get(DIRECTORY);
            if known.is_some_and(|known| known.running) {
                return Ok(false);
            }
            // After the newest that was seen, also when it was read to its end: there are new ones.
            let next_page = known.and_then(|known| known.row.next_page.clone());
            PullRow {
                source: DIRECTORY.to_owned(),
                next_page,
                started_ms: parts.clock.now_ms(),
                ..PullRow::default()
            }
        };
        parts.store.begin_scan(&row, wish).await?;
        Ok(self.scan(row, wish))
    }

    /// Goes on with it from this row.
    pub(super) fn scan(&self, row: PullRow, wish: ScanWish) -> bool {
        let parts = &self.inner.parts;
        let mut pulls = self.inner.pulls.lock();
        // Two may have asked at once.
        if pulls.get(DIRECTORY).is_some_and(|known| known.running) {
            return false;
        }
        pulls.insert(row.source.clone(), Pull { row: row.clone(), running: true, tried_ms: None });
        measure_running(&pulls);
        drop(pulls);
        let scan = Scan {
            store: parts.store.clone(),
            net: parts.net.clone(),
            clock: parts.clock.clone(),
            url: parts.plc_url.clone(),
            rate: wish.rate,
            add: wish.add,
            dev: parts.dev,
        };
        let (own, stopping) = (self.clone(), self.inner.tasks.stopping().clone());
        self.inner.tasks.start(async move {
            let ran = async {
                let ended = scan.run(&own.inner.candidates, row, |row| own.note(row, true)).await;
                own.note(&ended, false);
            };
            stopping.run_until_cancelled(Box::pin(ran)).await;
        });
        true
    }
}
