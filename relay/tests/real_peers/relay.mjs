// The built relay as a child process on fixed free ports, so that it can be killed and started again.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { until } from './checks.mjs'
import { REQUEST_MS_MAX, freePort } from './network.mjs'

const ADMIN_PASSWORD = 'relay-admin'

const ask = (url, options) => fetch(url, { signal: AbortSignal.timeout(REQUEST_MS_MAX), ...options })

export class Relay {
  #child
  #adminUrl
  #start

  /** Chooses addresses; starts nothing yet. */
  static async prepare({ binary, plcUrl, dir, log, settings = {} }) {
    const [api, admin, metrics] = [await freePort(), await freePort(), await freePort()]
    const relay = new Relay()
    relay.url = `http://127.0.0.1:${api}`
    relay.firehose = `ws://127.0.0.1:${api}`
    relay.#adminUrl = `http://127.0.0.1:${admin}`
    relay.#start = () => {
      const out = fs.openSync(log, 'a')
      const child = spawn(binary, ['serve', '--dev'], {
        cwd: dir,
        stdio: ['ignore', out, out],
        env: {
          RELAY_DATA_DIR: path.join(dir, 'relay'),
          RELAY_PLC_HOST: plcUrl,
          RELAY_API_BIND: `127.0.0.1:${api}`,
          RELAY_ADMIN_BIND: `127.0.0.1:${admin}`,
          RELAY_METRICS_LISTEN: `127.0.0.1:${metrics}`,
          RELAY_ADMIN_PASSWORD: ADMIN_PASSWORD,
          RELAY_LOG_LEVEL: 'info',
          ...settings,
        },
      })
      fs.closeSync(out)
      return child
    }
    return relay
  }

  /** Starts the process and waits until it answers. */
  async start() {
    this.#child = this.#start()
    this.#child.exited = once(this.#child, 'exit')
    await until('the relay answers', async () => {
      if (this.#child.exitCode !== null) throw new Error(`the relay ended with ${this.#child.exitCode}`)
      return this.#isHealthy()
    })
  }

  /** Sends a signal and waits for the end; gives the exit code. */
  async kill(signal) {
    if (this.isRunning()) {
      this.#child.kill(signal)
      await this.#child.exited
    }
    return this.#child.exitCode
  }

  /** For the very end: waits for nothing. */
  killNow() {
    if (this.isRunning()) this.#child.kill('SIGKILL')
  }

  isRunning() {
    return this.#child?.exitCode === null && this.#child.signalCode === null
  }

  async get(method, query) {
    const parameters = new URLSearchParams(query)
    const answer = await ask(`${this.url}/xrpc/${method}?${parameters}`, { redirect: 'manual' })
    const text = await answer.text()
    const body = text.startsWith('{') ? JSON.parse(text) : text
    return { status: answer.status, location: answer.headers.get('location'), body }
  }

  async crawl(hostname) {
    const answer = await ask(`${this.url}/xrpc/com.atproto.sync.requestCrawl`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ hostname }),
    })
    return answer.status
  }

  /** The dropped events of an account that the relay remembers, newest first. */
  async drops(did) {
    return (await this.#admin(`why?${new URLSearchParams({ did })}`)).drops
  }

  /** Asks the hosts now about all accounts of which records may be missing, not at the usual pace. */
  fillCollections() {
    const headers = { 'content-type': 'application/json' }
    return this.#admin('collections/backfill', { method: 'POST', headers, body: '{}' })
  }

  /** Who has records of a kind, by all pages. */
  async havingRecordsOf(collection) {
    const dids = []
    let cursor
    do {
      const query = { collection, limit: 2, ...(cursor && { cursor }) }
      const { status, body } = await this.get('com.atproto.sync.listReposByCollection', query)
      if (status !== 200) throw new Error(`listReposByCollection: ${status} ${JSON.stringify(body)}`)
      dids.push(...body.repos.map(({ did }) => did))
      cursor = body.cursor
    } while (cursor)
    return dids
  }

  async #admin(path, { headers, ...options } = {}) {
    const authorization = `Basic ${btoa(`admin:${ADMIN_PASSWORD}`)}`
    const url = `${this.#adminUrl}/admin/v1/${path}`
    const answer = await ask(url, { ...options, headers: { ...headers, authorization } })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`)
    return text && JSON.parse(text)
  }

  async #isHealthy() {
    try {
      return (await ask(`${this.url}/xrpc/_health`)).ok
    } catch {
      return false
    }
  }
}
