// Reads an event stream frame by frame, without any knowledge of the relay.
import { decodeOptions, encode } from '@ipld/dag-cbor'
import * as cborg from 'cborg'

const RECONNECT_MS = 100

const decodeFirst = (bytes) => cborg.decodeFirst(bytes, decodeOptions)

/** Splits a frame into header and payload. */
export function decodeFrame(bytes) {
  const [header, rest] = decodeFirst(bytes)
  const [payload, trailing] = decodeFirst(rest)
  if (trailing.length !== 0) throw new Error('bytes after the payload')
  return { header, payload }
}

/** The frame that a relay must make of a host's event: the same, with a seq of its own. */
export const frameWithSeq = ({ kind, payload }, seq) =>
  Buffer.concat([encode({ t: kind, op: 1 }), encode({ ...payload, seq })])

/** What an event is recognised by when its seq is another one; `time` is the host's. */
export function identityOf({ kind, payload }) {
  const { seq, ...others } = payload
  return `${kind} ${Buffer.from(encode(others)).toString('base64')}`
}

/** An event in words: kind, and what tells it from others of its kind. */
function wordsOf({ kind, payload }, lastRev) {
  if (kind === '#identity') return payload.handle ? `#identity ${payload.handle}` : '#identity'
  if (kind === '#account') return `#account ${payload.status ?? (payload.active ? 'active' : 'inactive')}`
  if (kind === '#sync') return payload.rev === lastRev ? '#sync, same rev' : '#sync, new rev'
  const actions = payload.ops.map(({ action }) => action).sort()
  return `#commit ${actions.join('+') || 'empty'}`
}

/** Follows a firehose and keeps every event; reconnects with its cursor until stopped. */
export class RawConsumer {
  events = []
  errors = []
  #stopped = false
  #socket
  #lastRevs = new Map()

  constructor(url, cursor = 0) {
    this.url = url
    this.cursor = cursor
    this.#connect()
  }

  #connect() {
    if (this.#stopped) return
    const socket = new WebSocket(`${this.url}/xrpc/com.atproto.sync.subscribeRepos?cursor=${this.cursor}`)
    this.#socket = socket
    socket.binaryType = 'arraybuffer'
    socket.onmessage = (message) => this.#take(new Uint8Array(message.data))
    // Node gives only `error` when nobody listens, only `close` when the other side dies.
    const again = () => {
      socket.onerror = socket.onclose = null
      setTimeout(() => this.#connect(), RECONNECT_MS)
    }
    socket.onerror = again
    socket.onclose = again
  }

  #take(bytes) {
    try {
      const { header, payload } = decodeFrame(bytes)
      if (header.op !== 1) {
        this.errors.push(`error frame ${payload.error}`)
      } else if (header.t === '#info') {
        this.errors.push(`info ${payload.name}`)
      } else {
        this.#keep({ kind: header.t, did: payload.repo ?? payload.did, payload, bytes })
      }
    } catch (error) {
      this.errors.push(String(error))
    }
  }

  #keep(event) {
    const { did, payload } = event
    if (payload.seq <= this.cursor) this.errors.push(`seq ${payload.seq} after ${this.cursor}`)
    this.cursor = payload.seq
    event.words = wordsOf(event, this.#lastRevs.get(did))
    if (payload.rev) this.#lastRevs.set(did, payload.rev)
    this.events.push(event)
  }

  /** The events of one account. */
  of(did) {
    return this.events.filter((event) => event.did === did)
  }

  stop() {
    this.#stopped = true
    this.#socket.close()
  }
}
