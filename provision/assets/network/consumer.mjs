// A consumer that is not ours: `@atproto/sync` with full verification. One line of JSON per event, and
// one per complaint. RELAY_URL is a wss address, PLC_URL the directory's.
import { IdResolver } from '@atproto/identity'
import { Firehose, MemoryRunner } from '@atproto/sync'

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
// The resolver's own fetch refuses plain http and private addresses.
const idResolver = new IdResolver({ plcUrl: process.env.PLC_URL, fetch: globalThis.fetch })
// There is no DNS for `.test`.
idResolver.handle.resolve = async () => undefined
const firehose = new Firehose({
  service: process.env.RELAY_URL,
  runner: new MemoryRunner({ startCursor: 0 }),
  idResolver,
  subscriptionReconnectDelay: 200,
  handleEvent: ({ seq, did, rev, event, collection, rkey }) => say({ seq, did, rev, event, collection, rkey }),
  onError: (error) => say({ error: error.constructor.name, what: error.cause?.message ?? error.message }),
})
await firehose.start()
