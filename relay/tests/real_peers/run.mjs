// The relay between reference PDSes and foreign consumers: spec 9.3 line by line, kills included.
//
// Needs RELAY_BINARY, REAL_PEERS_MODULES (a node_modules directory) and REAL_PEERS_PYTHON;
// `provision/test --only build,real-peers` sets all three. Prints one line per check and a summary;
// exit code 1 when a check failed or was not reached.
import './modules.mjs'

/** Checks that must have passed. Written down, so that one that gets lost is noticed. */
const CHECKS = 43
/** The whole run is given up after this; it takes half a minute on two idle cores. */
const RUN_SECONDS_MAX = 900

const { Bench } = await import('./bench.mjs')
const { Report } = await import('./checks.mjs')
const { chapters } = await import('./story.mjs')
const { verdicts } = await import('./verdicts.mjs')

const report = new Report(CHECKS)
const bench = new Bench()

/** The one way out: nothing that was started outlives it. */
function end(why) {
  if (why) console.log(`  gave up: ${why}`)
  const good = report.summary() && !why
  if (!good) bench.showLog()
  process.exit(good ? 0 : 1)
}

process.on('exit', (code) => bench.close(code === 0))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(signal))
process.on('uncaughtException', (error) => end(error.stack))
process.on('unhandledRejection', (error) => end(error?.stack ?? String(error)))
setTimeout(() => end(`not done after ${RUN_SECONDS_MAX} s`), RUN_SECONDS_MAX * 1000).unref()

await bench.open()
// A chapter builds on those before it: after a failed one the rest would only fail for its reason.
let going = true
for (const [what, chapter] of chapters) {
  if (!going) break
  going = await report.check(what, async () => {
    await chapter(bench)
    // It asks directory and hosts as it reads; what they say must not change before.
    await bench.consumersCaughtUp()
  })
}
// Each of these looks at what was recorded, whatever the others found.
for (const [what, verdict] of going ? verdicts : []) await report.check(what, () => verdict(bench))
end()
