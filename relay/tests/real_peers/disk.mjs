// What an event takes on the disk once its segment is sealed: frames of the reference PDS, whose
// repositories are as large as those of people who stay.
//
// Needs the variables that `run.mjs` needs. Fills repositories through
// `applyWrites`, then makes one commit per record, which the relay reads, seals and compresses.
// Prints one line of JSON. `node disk.mjs ACCOUNTS RECORDS EVENTS [KEEP]`: KEEP is a directory that
// gets a copy of the segments as they were written, before they were compressed.
import './modules.mjs'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const { until } = await import('./checks.mjs')
const { RawConsumer } = await import('./frames.mjs')
const { Host, startPlc } = await import('./network.mjs')
const { Relay } = await import('./relay.mjs')
const { TID } = await import('@atproto/common')

const [accounts, records, events] = process.argv.slice(2, 5).map(Number)
const keep = process.argv[5]
/** Writes of one call at most, as the PDS allows. */
const WRITES_PER_CALL = 200
const CODEC_AT = 10

// Words of real prose: what people write compresses worse than what a program repeats.
const prose = ['architecture.md', 'invariants.md', 'event-log.md', 'drop-reasons.md']
  .map((page) => fs.readFileSync(new URL(`../../../docs/${page}`, import.meta.url), 'utf8'))
  .join(' ')
const words = prose.split(/[^A-Za-z']+/).filter(Boolean)

let seed = 4
/** 0 <= x < 1, the same in every run. */
function random() {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
  return seed / 2 ** 32
}
const below = (n) => Math.floor(random() * n)
const pick = (list) => list[below(list.length)]
const base32 = (length) => Array.from({ length }, () => pick('abcdefghijklmnopqrstuvwxyz234567')).join('')
const stranger = () => `did:plc:${base32(24)}`
const text = () => Array.from({ length: 4 + below(36) }, () => pick(words)).join(' ').slice(0, 300)
const subject = (collection) => ({
  uri: `at://${stranger()}/${collection}/${TID.nextStr()}`,
  cid: `bafyrei${base32(52)}`,
})

/** The shares of the live network: 55 % likes, 17 % posts, 17 % follows, 11 % reposts. */
function record() {
  const createdAt = new Date().toISOString()
  const dice = random()
  const post = 'app.bsky.feed.post'
  if (dice < 0.55) return { $type: 'app.bsky.feed.like', subject: subject(post), createdAt }
  if (dice < 0.72) {
    const reply = random() < 0.5 ? { reply: { root: subject(post), parent: subject(post) } } : {}
    return { $type: post, text: text(), langs: ['en'], ...reply, createdAt }
  }
  if (dice < 0.89) return { $type: 'app.bsky.graph.follow', subject: stranger(), createdAt }
  return { $type: 'app.bsky.feed.repost', subject: subject(post), createdAt }
}

function create(account) {
  const value = record()
  const rkey = TID.nextStr()
  account.keys.push([value.$type, rkey])
  return { $type: 'com.atproto.repo.applyWrites#create', collection: value.$type, rkey, value }
}

/** Mostly creates, some deletes of what is there. */
function change(account) {
  if (random() >= 0.13) return create(account)
  const [[collection, rkey]] = account.keys.splice(below(account.keys.length), 1)
  return { $type: 'com.atproto.repo.applyWrites#delete', collection, rkey }
}

async function write(host, account, writes) {
  const body = { repo: account.did, writes, validate: false }
  await host.post('com.atproto.repo.applyWrites', body, { token: account.token })
}

async function fill(host, name) {
  const body = { handle: `${name}.test`, email: `${name}@example.com`, password: 'password' }
  const made = await host.post('com.atproto.server.createAccount', body)
  const account = { did: made.did, token: made.accessJwt, keys: [] }
  for (let left = records; left > 0; left -= WRITES_PER_CALL) {
    const count = Math.min(left, WRITES_PER_CALL)
    await write(host, account, Array.from({ length: count }, () => create(account)))
  }
  return account
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'relay-disk-'))
let relay
process.on('exit', () => {
  relay?.killNow()
  fs.rmSync(dir, { recursive: true, force: true })
})
const plcUrl = await startPlc()
const host = await Host.start('disk', plcUrl, dir)
const people = []
for (let i = 0; i < accounts; i++) people.push(await fill(host, `person-${i}`))

relay = await Relay.prepare({
  binary: process.env.RELAY_BINARY,
  plcUrl,
  dir,
  log: path.join(dir, 'log'),
  settings: { RELAY_SEGMENT_BYTES: '4MiB', RELAY_LOG_COMPRESSION: process.env.RELAY_LOG_COMPRESSION ?? 'fast' },
})
await relay.start()
if ((await relay.crawl(host.hostname)) !== 200) throw new Error('the relay refused the host')
const heard = new RawConsumer(relay.firehose)
// The subscription begins at the newest event: what comes before it is not measured.
await until('the relay reads the host', async () => {
  await write(host, people[0], [create(people[0])])
  return heard.events.length > 0
})
const before = heard.events.length
for (let i = 0; i < events; i++) {
  const account = pick(people)
  await write(host, account, [change(account)])
}
await until('the relay has all', () => heard.events.length >= before + events)

const segments = path.join(dir, 'relay', 'persist')
const list = () => fs.readdirSync(segments).filter((name) => name.endsWith('.log')).sort()
const codecOf = (name) => fs.readFileSync(path.join(segments, name))[CODEC_AT]
if (keep) {
  await relay.kill('SIGKILL')
  fs.cpSync(segments, keep, { recursive: true })
  await relay.start()
}
// The last two stay plain.
await until('what is sealed is compressed', () => list().slice(0, -2).every((name) => codecOf(name) === 1))

// Whole segments of commits with one record each.
const measuredFrom = heard.events[before - 1].payload.seq
const bases = list().map((name) => Number(name.slice(0, 20)))
let [count, frameBytes, sealedBytes] = [0, 0, 0]
for (const [i, name] of list().slice(0, -2).entries()) {
  if (bases[i] <= measuredFrom) continue
  sealedBytes += fs.statSync(path.join(segments, name)).size
  for (const { payload, bytes } of heard.events) {
    if (payload.seq < bases[i] || payload.seq >= bases[i + 1]) continue
    count += 1
    frameBytes += bytes.length
  }
}
const report = {
  accounts,
  records,
  events: count,
  meanFrameBytes: Math.round(frameBytes / count),
  sealedBytesPerEvent: Math.round(sealedBytes / count),
  ratio: Number((sealedBytes / frameBytes).toFixed(3)),
}
console.log(JSON.stringify(report))
await relay.kill('SIGTERM')
process.exit(0)
