// Consumers that are not ours: `@atproto/sync` with full verification, and the Python client.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import readline from 'node:readline'
import { IdResolver } from '@atproto/identity'
import { Firehose, MemoryRunner } from '@atproto/sync'
import { REQUEST_MS_MAX } from './network.mjs'

/** Follows the relay with `@atproto/sync`: signatures, proofs of every operation, handles. */
export class SyncConsumer {
  /** By seq and what it tells: a consumer that reconnects may read an event again. */
  events = new Map()
  errors = []
  #runner = new MemoryRunner({ startCursor: 0 })

  constructor(url, plcUrl, hosts) {
    // The resolver's own fetch refuses plain http and private addresses.
    const idResolver = new IdResolver({ plcUrl, timeout: REQUEST_MS_MAX, fetch: globalThis.fetch })
    // There is no DNS for `.test`; the PDSes answer for their handles.
    idResolver.handle.resolve = (handle) => resolveHandle(hosts, handle)
    const firehose = new Firehose({
      service: url,
      runner: this.#runner,
      idResolver,
      maxReconnectSeconds: 0.2,
      subscriptionReconnectDelay: 200,
      handleEvent: (event) => this.#keep(event),
      onError: (error) => this.errors.push(error),
    })
    firehose.start().catch((error) => this.errors.push(error))
  }

  get cursor() {
    return this.#runner.getCursor()
  }

  /** Errors apart from lost connections, with their causes. */
  complaints() {
    return this.errors
      .filter((error) => error.constructor.name !== 'FirehoseSubscriptionError')
      .map((error) => `${error.constructor.name}: ${error.cause?.message ?? error.message}`)
  }

  #keep(event) {
    const { seq, did, rev, event: kind, collection, rkey, handle, active, status } = event
    const told = { identity: handle, account: status ?? active, sync: rev }
    const words = kind in told ? `${kind} ${told[kind]}` : `${rev} ${kind} ${collection}/${rkey}`
    this.events.set(`${seq} ${did} ${words}`, event)
  }
}

async function resolveHandle(hosts, handle) {
  for (const host of hosts) {
    const query = new URLSearchParams({ handle })
    const answer = await fetch(`${host.url}/xrpc/com.atproto.identity.resolveHandle?${query}`)
    if (answer.ok) return (await answer.json()).did
  }
  return undefined
}

/** Follows the relay with the Python client; its lines are its word. */
export class PythonConsumer {
  events = []
  errors = []
  #child

  constructor(python, url) {
    const script = fileURLToPath(new URL('consumer.py', import.meta.url))
    this.#child = spawn(python, [script, url], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child.on('exit', (code) => this.errors.push(`ended with ${code}`))
    readline.createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const event = JSON.parse(line)
      if (event.error) this.errors.push(event.error)
      else this.events.push(event)
    })
  }

  killNow() {
    this.#child.kill('SIGKILL')
  }
}
