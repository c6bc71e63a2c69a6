// Reads an event stream frame by frame, without any knowledge of the relay.
import { decodeOptions, encode } from '@ipld/dag-cbor'
import * as cborg from 'cborg'

const decodeFirst = (bytes) => cborg.decodeFirst(bytes, decodeOptions)

/** Splits a frame into header and payload. */
export function decodeFrame(bytes) {
  const [header, rest] = decodeFirst(bytes)
  const [payload, trailing] = decodeFirst(rest)
  if (trailing.length !== 0) throw new Error('bytes after the payload')
  return { header, payload }
}

/** The payload without its seq, as bytes: equal for the host's frame and for the relay's. */
export function withoutSeq(payload) {
  const { seq, ...others } = payload
  return Buffer.from(encode(others)).toString('base64')
}

/** Follows a firehose and keeps every event; reconnects with its cursor until stopped. */
export class RawConsumer {
  events = []
  errors = []
  connections = 0
  #stopped = false
  #socket

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
    socket.onopen = () => {
      this.connections += 1
    }
    socket.onmessage = (message) => this.#take(new Uint8Array(message.data))
    socket.onerror = () => {}
    socket.onclose = () => setTimeout(() => this.#connect(), 100)
  }

  #take(bytes) {
    try {
      const { header, payload } = decodeFrame(bytes)
      if (header.op !== 1) {
        this.errors.push(`error frame ${payload.error}`)
        return
      }
      if (header.t === '#info') {
        this.errors.push(`info ${payload.name}`)
        return
      }
      if (payload.seq <= this.cursor) this.errors.push(`seq ${payload.seq} after ${this.cursor}`)
      this.cursor = payload.seq
      this.events.push({ kind: header.t, did: payload.repo ?? payload.did, payload })
    } catch (error) {
      this.errors.push(String(error))
    }
  }

  of(did) {
    return this.events.filter((event) => event.did === did)
  }

  stop() {
    this.#stopped = true
    this.#socket.close()
  }
}
