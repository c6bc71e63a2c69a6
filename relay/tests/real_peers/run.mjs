// The relay between reference PDSes and foreign consumers: spec 9.3 line by line, kills included.
//
// Needs RELAY_BINARY, REAL_PEERS_PYTHON and node_modules beside this file; `provision/test` sets all.
import { spawn } from 'node:child_process'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { IdResolver } from '@atproto/identity'
import { Firehose, MemoryRunner } from '@atproto/sync'
import { check, equal, summary, until } from './checks.mjs'
import { RawConsumer, withoutSeq } from './frames.mjs'
import { createPds, startPlc } from './network.mjs'
import { createRelay } from './relay.mjs'
import * as life from './scenario.mjs'

const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'relay-real-peers-'))
const plc = await startPlc()
const [a, b] = [await createPds('a', plc.url, dir), await createPds('b', plc.url, dir)]
const relay = await createRelay(process.env.RELAY_BINARY, plc.url, dir)
await relay.start()
await until('the relay answers', relay.healthy)

// What the hosts said, heard from them directly.
const truth = { a: new RawConsumer(a.url.replace('http', 'ws')), b: new RawConsumer(b.url.replace('http', 'ws')) }
const heard = new RawConsumer(relay.firehose)

// @atproto/sync with full verification, going on from its cursor when the relay is restarted.
const sync = { events: [], errors: [] }
const runner = new MemoryRunner({ startCursor: 0 })
const firehose = new Firehose({
  service: relay.firehose,
  runner,
  idResolver: new IdResolver({ plcUrl: plc.url }),
  unauthenticatedHandles: true,
  subscriptionReconnectDelay: 100,
  handleEvent: (event) => {
    sync.events.push(event)
  },
  onError: (error) => sync.errors.push(error),
})
firehose.start()

// The Python client; its lines are its word.
const python = { events: [], errors: [] }
const pythonChild = spawn(process.env.REAL_PEERS_PYTHON, [new URL('consumer.py', import.meta.url).pathname, relay.firehose], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
readline.createInterface({ input: pythonChild.stdout }).on('line', (line) => {
  const event = JSON.parse(line)
  ;(event.error ? python.errors : python.events).push(event)
})

const kinds = (did) => heard.of(did).map(({ kind, payload }) => (payload.status ? `${kind} ${payload.status}` : kind))
const commits = (events) => events.filter(({ kind }) => kind === '#commit')
const lastRev = async (account) =>
  (await account.host.call('com.atproto.sync.getLatestCommit', undefined, { query: { did: account.did } })).rev
const arrives = (account, rev) =>
  until(`commit ${rev} of ${account.name}`, () => commits(heard.of(account.did)).some(({ payload }) => payload.rev === rev))
const caughtUp = async (account) => arrives(account, await lastRev(account))
const countOf = (did, name) => kinds(did).filter((kind) => kind === name).length

// Revs that the relay must not pass, with the reason.
const refused = new Map()

await check('requestCrawl of both hosts answers 200', async () => {
  equal((await relay.crawl(a.hostname)).status, 200)
  equal((await relay.crawl(b.hostname)).status, 200)
})

let alice, bob, carol
await check('account creation: #identity, #account, first #commit', async () => {
  alice = await life.createAccount(a, 'alice')
  bob = await life.createAccount(a, 'bob')
  carol = await life.createAccount(b, 'carol')
  for (const account of [alice, bob, carol]) {
    await caughtUp(account)
    equal(kinds(account.did).filter((kind) => kind !== '#sync').slice(0, 3), ['#identity', '#account', '#commit'])
  }
})

await check('200 mixed writes arrive', async () => {
  await life.mixedWrites(alice)
  await caughtUp(alice)
})

await check('a handle change gives #identity with the new handle', async () => {
  await life.changeHandle(bob, 'robert.test')
  bob.handle = 'robert.test'
  await until('#identity robert.test', () => heard.of(bob.did).some(({ kind, payload }) => kind === '#identity' && payload.handle === 'robert.test'))
})

await check('deactivation and activation: #account deactivated, #account active, #sync', async () => {
  const syncs = countOf(bob.did, '#sync')
  await life.deactivate(bob)
  await until('#account deactivated', () => countOf(bob.did, '#account deactivated') === 1)
  equal((await relay.get('com.atproto.sync.getRepoStatus', { did: bob.did })).body.status, 'deactivated')
  const active = countOf(bob.did, '#account')
  await life.activate(bob)
  await until('#account active', () => countOf(bob.did, '#account') === active + 1)
  await until('#sync', () => countOf(bob.did, '#sync') > syncs)
  await life.post(bob, 'back again')
  await caughtUp(bob)
})

await check('takedown at the host and its reversal: #account takendown, #account active', async () => {
  await life.takedown(bob, true)
  await until('#account takendown', () => countOf(bob.did, '#account takendown') === 1)
  equal((await relay.get('com.atproto.sync.getLatestCommit', { did: bob.did })).body.error, 'RepoTakendown')
  const active = countOf(bob.did, '#account')
  await life.takedown(bob, false)
  await until('#account active', () => countOf(bob.did, '#account') === active + 1)
})

await check('key rotation: #identity, then #sync with the new key, and commits go on', async () => {
  const syncs = countOf(alice.did, '#sync')
  await life.rotateKey(alice)
  await until('#sync', () => countOf(alice.did, '#sync') > syncs)
  await life.post(alice, 'signed with the new key')
  await caughtUp(alice)
})

await check('a wrong key in the directory: commits are dropped with their reason, and pass after its repair', async () => {
  const repair = await life.wrongKeyInDirectory(carol)
  // The host announces it, as it would after a change that it made itself.
  await carol.host.ctx.sequencer.sequenceIdentity(carol.did)
  const identities = countOf(carol.did, '#identity')
  await until('#identity', () => countOf(carol.did, '#identity') >= identities)
  await life.post(carol, 'cannot be verified')
  const rev = await lastRev(carol)
  refused.set(`${carol.did} ${rev}`, 'bad_signature')
  await until('the drop is explained', async () => (await relay.why({ did: carol.did })).includes('bad_signature'), 60)
  await repair()
  await carol.host.ctx.sequencer.sequenceIdentity(carol.did)
  // A refresh may see the old document once more; what is dropped meanwhile is not lost in silence.
  await until('a commit passes', async () => {
    await life.post(carol, 'verified again')
    const now = await lastRev(carol)
    const passed = await until('', () => commits(heard.of(carol.did)).some(({ payload }) => payload.rev === now), 2).catch(() => false)
    if (!passed) refused.set(`${carol.did} ${now}`, 'bad_signature')
    return passed
  }, 120)
})

let migratedAt
await check('migration A to B while A goes on writing: only B has authority afterwards', async () => {
  const before = alice
  await life.post(alice, 'last words on A')
  await caughtUp(alice)
  const statuses = countOf(alice.did, '#account deactivated')
  alice = await life.migrate(alice, b, async () => {
    migratedAt = heard.cursor
    await until('#account of B', () => heard.of(alice.did).some(({ kind, payload }) => kind === '#account' && payload.seq > 0 && payload.active))
    const answer = await life.post(before, 'A does not know yet').catch(() => undefined)
    if (answer) refused.set(`${before.did} ${answer.commit.rev}`, 'wrong_host')
  })
  await life.post(alice, 'hello from B')
  await caughtUp(alice)
  equal(countOf(alice.did, '#account deactivated'), statuses, "A's #account after the migration")
  const redirect = await relay.get('com.atproto.sync.getRepo', { did: alice.did })
  equal([redirect.status, redirect.location], [302, `${b.url}/xrpc/com.atproto.sync.getRepo?did=${encodeURIComponent(alice.did)}`])
})

await check('both hosts restarted: events go on', async () => {
  await Promise.all([a.stop(), b.stop()])
  await Promise.all([a.start(), b.start()])
  for (const account of [bob, alice]) {
    await life.post(account, 'after the restart of the host')
    await caughtUp(account)
  }
})

await check('relay killed while hosts write, then restarted: nothing lost, nothing twice', async () => {
  await life.post(bob, 'just before the kill')
  await relay.kill('SIGKILL')
  await life.post(bob, 'while the relay is down')
  await life.post(alice, 'while the relay is down')
  await relay.start()
  await until('the relay answers', relay.healthy)
  for (const account of [bob, alice]) await caughtUp(account)
})

await check('relay stopped with SIGTERM and started: exit code 0, consumers go on', async () => {
  equal(await relay.kill('SIGTERM'), 0)
  await relay.start()
  await until('the relay answers', relay.healthy)
  await life.post(bob, 'after the clean restart')
  await caughtUp(bob)
})

await check('deletion: #account deleted', async () => {
  const dora = await life.createAccount(a, 'dora')
  await life.post(dora, 'short life')
  await caughtUp(dora)
  await life.remove(dora)
  await until('#account deleted', () => countOf(dora.did, '#account deleted') === 1)
  equal((await relay.get('com.atproto.sync.getRepoStatus', { did: dora.did })).body.status, 'deleted')
  equal((await relay.get('com.atproto.sync.getLatestCommit', { did: dora.did })).body.error, 'RepoNotFound')
})

// From here on nothing is written: everything must have arrived everywhere.
const expected = [...truth.a.events, ...truth.b.events].filter(({ kind, did, payload }) => kind === '#commit' && !refused.has(`${did} ${payload.rev}`))

await check(`each of the ${expected.length} commits arrived exactly once`, async () => {
  const counts = new Map()
  for (const { did, payload } of commits(heard.events)) counts.set(`${did} ${payload.rev}`, (counts.get(`${did} ${payload.rev}`) ?? 0) + 1)
  const wrong = expected.filter(({ did, payload }) => counts.get(`${did} ${payload.rev}`) !== 1)
  equal(wrong.map(({ did, payload }) => `${did} ${payload.rev} ${counts.get(`${did} ${payload.rev}`) ?? 0}`), [])
})

await check('no commit arrived that should not have', async () => {
  const known = new Set(expected.map(({ did, payload }) => `${did} ${payload.rev}`))
  equal(commits(heard.events).map(({ did, payload }) => `${did} ${payload.rev}`).filter((key) => !known.has(key)), [])
})

await check('the payload of every commit and sync is unchanged but for seq', async () => {
  const sent = new Set([...truth.a.events, ...truth.b.events].map(({ payload }) => withoutSeq(payload)))
  const changed = heard.events.filter(({ kind, payload }) => ['#commit', '#sync'].includes(kind) && !sent.has(withoutSeq(payload)))
  equal(changed.map(({ kind, payload }) => `${kind} ${payload.seq}`), [])
})

await check('per account, rev increases', async () => {
  const last = new Map()
  const wrong = []
  for (const { did, payload } of commits(heard.events)) {
    if (last.has(did) && payload.rev <= last.get(did)) wrong.push(`${did} ${payload.rev}`)
    last.set(did, payload.rev)
  }
  equal(wrong, [])
})

await check('the #sync that the migration leaves behind (old key, other rev) did not pass', async () => {
  const bad = truth.b.of(alice.did).filter(({ kind }) => kind === '#sync')
  equal(bad.length > 0, true, 'B sent a #sync at activation')
  equal(heard.of(alice.did).filter(({ kind, payload }) => kind === '#sync' && payload.seq > migratedAt).length, 0)
})

await check('the raw consumer saw no error and no seq twice', async () => equal(heard.errors, []))

await check('a late consumer with cursor 0 gets the same events', async () => {
  const late = new RawConsumer(relay.firehose)
  await until('the late consumer catches up', () => late.cursor === heard.cursor)
  late.stop()
  equal(late.errors, [])
  equal(late.events.length, heard.events.length)
  const bytes = (events) => events.map(({ payload }) => `${payload.seq} ${withoutSeq(payload)}`)
  equal(bytes(late.events).join() === bytes(heard.events).join(), true, 'bytes')
})

await check('@atproto/sync verified every operation', async () => {
  const operations = commits(heard.events).flatMap(({ did, payload }) => payload.ops.map((op) => `${did} ${payload.rev} ${op.action} ${op.path}`))
  const verified = () => sync.events.filter(({ event }) => ['create', 'update', 'delete'].includes(event)).map(({ did, rev, event, collection, rkey }) => `${did} ${rev} ${event} ${collection}/${rkey}`)
  await until('@atproto/sync catches up', () => verified().length >= operations.length).catch(() => {})
  equal(verified().sort().join('\n') === operations.sort().join('\n'), true, `${verified().length} verified of ${operations.length}`)
})

await check('@atproto/sync reported no invalid event', async () => {
  equal(sync.errors.filter((error) => /Validation|Parse|Handler/.test(error.constructor.name)).map(String), [])
})

await check('the Python client read every event', async () => {
  await until('the Python client catches up', () => python.events.at(-1)?.seq === heard.cursor)
  equal(python.events.map(({ seq }) => seq), heard.events.map(({ payload }) => payload.seq))
  equal(python.errors, [])
})

for (const account of [bob, carol, alice]) {
  await check(`${account.name}: getLatestCommit, getRepoStatus and listRepos agree with the host`, async () => {
    const query = { did: account.did }
    const theirs = await account.host.call('com.atproto.sync.getLatestCommit', undefined, { query })
    equal((await relay.get('com.atproto.sync.getLatestCommit', query)).body, theirs)
    const status = (await relay.get('com.atproto.sync.getRepoStatus', query)).body
    equal([status.active, status.rev], [true, theirs.rev])
    const listed = (await relay.get('com.atproto.sync.listRepos', { limit: 1000 })).body.repos.find(({ did }) => did === account.did)
    equal([listed.head, listed.rev, listed.active], [theirs.cid, theirs.rev, true])
  })
}

await check('listHosts shows both hosts as active with their accounts', async () => {
  const { hosts } = (await relay.get('com.atproto.sync.listHosts', {})).body
  equal(hosts.map(({ hostname, status, accountCount }) => [hostname, status, accountCount]), [
    [a.hostname, 'active', 1],
    [b.hostname, 'active', 2],
  ])
})

const good = summary()
heard.stop()
truth.a.stop()
truth.b.stop()
await firehose.destroy()
pythonChild.kill()
await relay.kill('SIGTERM')
if (good) await fs.rm(dir, { recursive: true, force: true })
else console.log(`the relay's log is ${relay.log}`)
await Promise.all([a.stop(), b.stop()])
await plc.stop()
process.exit(good ? 0 : 1)
