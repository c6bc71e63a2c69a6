// Everything that takes part, and its end.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { PythonConsumer, SyncConsumer } from './consumers.mjs'
import { until } from './checks.mjs'
import { RawConsumer } from './frames.mjs'
import { Ledger } from './ledger.mjs'
import { Host, startPlc, watchPlc } from './network.mjs'
import { Relay } from './relay.mjs'

const LOG_LINES_SHOWN = 30

export class Bench {
  /** Accounts by name, as the story goes. */
  cast = {}
  #dir
  #log

  async open() {
    this.#dir = fs.mkdtempSync(path.join(os.tmpdir(), 'relay-real-peers-'))
    this.#log = `${this.#dir}.log`
    const plcUrl = await startPlc()
    this.a = await Host.start('a', plcUrl, this.#dir)
    this.b = await Host.start('b', plcUrl, this.#dir)
    this.hosts = [this.a, this.b]
    this.directory = await watchPlc(plcUrl)
    this.relay = await Relay.prepare({
      binary: process.env.RELAY_BINARY,
      plcUrl: this.directory.url,
      dir: this.#dir,
      log: this.#log,
    })
    await this.relay.start()
    // What the hosts said, heard from them directly, and what the relay made of it.
    this.truth = this.hosts.map((host) => new RawConsumer(host.firehose))
    this.heard = new RawConsumer(this.relay.firehose)
    this.ledger = new Ledger(this.heard)
    this.sync = new SyncConsumer(this.relay.firehose, plcUrl, this.hosts)
    this.python = new PythonConsumer(process.env.REAL_PEERS_PYTHON, this.relay.firehose)
  }

  /** The events that the two hosts sent, of one account or all. */
  sent(did) {
    const events = this.truth.flatMap((consumer) => consumer.events)
    return did ? events.filter((event) => event.did === did) : events
  }

  /** Waits until the record of the hosts and the verifying consumer have read all that came. */
  async consumersCaughtUp() {
    for (const [i, { name, ctx }] of this.hosts.entries()) {
      const last = await ctx.sequencer.curr()
      await until(`${name} has told its seq ${last}`, () => this.truth[i].cursor >= last)
    }
    await until(
      () => `@atproto/sync reads up to ${this.heard.cursor}, it is at ${this.sync.cursor}`,
      () => this.sync.cursor === this.heard.cursor,
    )
  }

  /**
   * Ends what would outlive this process, without waiting for anything: servers and consumers of its
   * own end with it. The log stays if it is needed.
   */
  close(good) {
    this.relay?.killNow()
    this.python?.killNow()
    if (this.#dir) fs.rmSync(this.#dir, { recursive: true, force: true })
    if (good && this.#log) fs.rmSync(this.#log, { force: true })
  }

  /** For a person who was not there. */
  showLog() {
    const text = this.#log && fs.existsSync(this.#log) ? fs.readFileSync(this.#log, 'utf8') : ''
    if (!text) return
    const lines = text.trimEnd().split('\n')
    console.log(`the end of the relay's log; all of it is in ${this.#log}`)
    for (const line of lines.slice(-LOG_LINES_SHOWN)) console.log(`  ${line}`)
  }
}
