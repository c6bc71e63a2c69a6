// What happens to the accounts, chapter by chapter, and what must come out of it (spec 9.3).
import { equal, until } from './checks.mjs'
import * as life from './scenario.mjs'

const CREATED = (account) => [`#identity ${account.handle}`, '#account active', '#commit empty']
const RETURNED = (account) => ['#account active', `#identity ${account.handle}`, '#sync, same rev']
const times = (count, word) => Array(count).fill(word)
/** Writes that pass before something happens to the relay, and again after it. */
const WRITES_AROUND = 10

/** The relay's word on an account's status, and the errors of what it does not serve then. */
async function isServedAs({ relay }, { did }, status, error, httpStatus = 403) {
  const { body } = await relay.get('com.atproto.sync.getRepoStatus', { did })
  equal([body.did, body.active, body.status], [did, false, status])
  for (const method of ['getLatestCommit', 'getRepo']) {
    const refused = await relay.get(`com.atproto.sync.${method}`, { did })
    equal([refused.status, refused.body.error], [httpStatus, error], method)
  }
}

/** Waits until the relay has dropped the event with this number at the host; it must be for `reason`. */
async function isDropped({ relay }, { did, host }, seq, reason) {
  const isIt = (drop) => drop.host === host.hostname && drop.hostSeq === seq
  const dropped = await until(`seq ${seq} of ${host.name} is dropped`, async () =>
    (await relay.drops(did)).find(isIt),
  )
  equal(dropped.reason, reason, dropped.detail)
}

/** The last event of an account that its host sent, once `condition` holds for it. */
const lastSent = (bench, account, words) =>
  until(`${account.host.name} says ${words} of ${account.name}`, () => {
    const last = bench.truth[bench.hosts.indexOf(account.host)].of(account.did).at(-1)
    return last?.words === words && last
  })

/** A write at the host that the relay must not pass. */
async function isRefused(bench, account, reason) {
  const { commit } = await life.post(account, 'not for consumers')
  const event = await until('the host sends the commit', () =>
    bench.sent(account.did).find(({ payload }) => payload.rev === commit.rev),
  )
  bench.ledger.refuses(account, '#commit create')
  await isDropped(bench, account, event.payload.seq, reason)
}

/** Runs `body` while two accounts, one at each host, are written to without a pause. */
async function whileWriting(bench, body) {
  const accounts = [bench.cast.bob, bench.cast.carol]
  const writers = accounts.map(life.keepWriting)
  const more = async (what) => {
    const goals = writers.map(({ count }) => count + WRITES_AROUND)
    await until(`writes ${what}`, () => writers.every(({ count }, i) => count >= goals[i]))
  }
  try {
    await more('before')
    await body(more)
  } finally {
    for (const [i, writer] of writers.entries()) {
      bench.ledger.expect(accounts[i], ...times(await writer.stop(), '#commit create'))
    }
  }
  for (const account of accounts) await bench.ledger.settles(account)
}

async function crawl({ relay, hosts }) {
  for (const { hostname } of hosts) equal(await relay.crawl(hostname), 200)
}

async function create({ a, b, cast, ledger }) {
  for (const [name, host] of [['alice', a], ['bob', a], ['erin', a], ['carol', b]]) {
    cast[name] = await life.createAccount(host, name)
    await ledger.settles(cast[name], ...CREATED(cast[name]))
    // The host repeats the first commit as a #sync, which tells nothing (SYNC-4).
    ledger.refuses(cast[name], '#sync, same rev')
  }
}

async function writeMuch({ cast: { alice }, ledger }) {
  await ledger.settles(alice, ...(await life.mixedWrites(alice)))
}

async function changeHandle({ cast: { bob }, ledger }) {
  await life.changeHandle(bob, 'robert.test')
  await ledger.settles(bob, '#identity robert.test')
}

async function deactivate(bench) {
  const { bob } = bench.cast
  await life.deactivate(bob)
  await bench.ledger.settles(bob, '#account deactivated')
  await isServedAs(bench, bob, 'deactivated', 'RepoDeactivated')
}

async function activate({ cast: { bob }, ledger }) {
  await life.activate(bob)
  await ledger.settles(bob, ...RETURNED(bob))
  await life.post(bob, 'back again')
  await ledger.settles(bob, '#commit create')
}

async function takeDown(bench) {
  const { bob } = bench.cast
  await life.takedown(bob, true)
  await bench.ledger.settles(bob, '#account takendown')
  await isServedAs(bench, bob, 'takendown', 'RepoTakendown')
}

async function reverseTakedown({ cast: { bob }, ledger }) {
  await life.takedown(bob, false)
  await ledger.settles(bob, '#account active')
  await life.post(bob, 'cleared')
  await ledger.settles(bob, '#commit create')
}

async function rotate(bench) {
  const { alice } = bench.cast
  await life.rotateKey(alice)
  await bench.ledger.settles(alice, '#identity', '#sync, new rev')
  await life.post(alice, 'signed with the new key')
  await bench.ledger.settles(alice, '#commit create')
}

async function rotateSilently(bench) {
  const { erin } = bench.cast
  await life.rotateKeySilently(erin)
  await life.post(erin, 'signed with a key that nobody announced')
  await bench.ledger.settles(erin, '#commit create')
}

async function wrongKey(bench) {
  const { carol } = bench.cast
  carol.repair = await life.wrongKeyInDirectory(carol)
  await life.announce(carol)
  await bench.ledger.settles(carol, '#identity')
  await isRefused(bench, carol, 'bad_signature')
  await isRefused(bench, carol, 'bad_signature')
}

async function repairKey({ cast: { carol }, ledger }) {
  await carol.repair()
  await life.announce(carol)
  await ledger.settles(carol, '#identity')
  // It does not follow what the relay knows, for two commits were dropped; it passes (VAL-16).
  await life.post(carol, 'verified again')
  await ledger.settles(carol, '#commit create')
}

async function killWhileWriting(bench) {
  await whileWriting(bench, async (more) => {
    await bench.relay.kill('SIGKILL')
    bench.lookupsAtKill = bench.directory.requests.length
    await more('while the relay is down')
    await bench.relay.start()
    await more('after the restart')
  })
}

/** Keys and hosts survive in the log and the store, also those that came after the last checkpoint. */
async function noLookups({ directory, lookupsAtKill }) {
  equal(directory.requests.length > 0, true, 'lookups can be seen')
  equal(directory.requests.slice(lookupsAtKill), [], 'requests to the directory after the restart')
}

async function copyWhileWriting(bench) {
  const { alice } = bench.cast
  const writer = life.keepWriting(alice)
  try {
    alice.move = await life.copyAccount(alice, bench.b)
  } finally {
    bench.ledger.expect(alice, ...times(await writer.stop(), '#commit create'))
  }
  await life.post(alice, 'not in the copy')
  await bench.ledger.settles(alice, '#commit create')
}

/** From the change of the identity to the first commit at B; `reason` is what B's #sync is dropped for. */
async function moveOver(bench, account, reason) {
  const { moved, handOver } = account.move
  await handOver()
  await bench.ledger.settles(account, '#identity')
  await isRefused(bench, account, 'wrong_host')
  await life.activate(moved)
  await bench.ledger.settles(account, '#account active', `#identity ${account.handle}`)
  const { payload } = await lastSent(bench, moved, '#sync, new rev')
  await isDropped(bench, moved, payload.seq, reason)
  bench.ledger.refuses(account, '#sync, new rev')
}

/** The old host does not know that it is the old one. */
async function leave(bench, account) {
  await isRefused(bench, account, 'wrong_host')
  await life.deactivate(account)
  const { payload } = await lastSent(bench, account, '#account deactivated')
  await isDropped(bench, account, payload.seq, 'wrong_host')
  bench.ledger.refuses(account, '#account deactivated')
  const { moved } = account.move
  bench.cast[account.name] = moved
  await life.post(moved, 'hello from B')
  await bench.ledger.settles(moved, '#commit create')
}

/**
 * SYNC-8: nothing was written since the copy, so only the contents of B's #sync are wrong: another rev
 * than in the commit, which the old key signed.
 */
async function moveIdle(bench) {
  const { erin } = bench.cast
  erin.move = await life.copyAccount(erin, bench.b)
  await moveOver(bench, erin, 'commit_mismatch')
  await leave(bench, erin)
}

async function redirect({ relay, b, cast: { alice } }) {
  const { status, location } = await relay.get('com.atproto.sync.getRepo', { did: alice.did })
  const query = new URLSearchParams({ did: alice.did })
  equal([status, location], [302, `${b.url}/xrpc/com.atproto.sync.getRepo?${query}`])
}

async function remove(bench) {
  const dora = await life.createAccount(bench.a, 'dora')
  bench.cast.dora = dora
  await life.post(dora, 'a short life')
  await bench.ledger.settles(dora, ...CREATED(dora), '#commit create')
  bench.ledger.refuses(dora, '#sync, same rev')
  // The host will forget all earlier events of the account, and its handle.
  await lastSent(bench, dora, '#commit create')
  await bench.consumersCaughtUp()
  await life.remove(dora)
  await bench.ledger.settles(dora, '#account deleted')
  await isServedAs(bench, dora, 'deleted', 'RepoNotFound', 404)
}

async function restartHosts(bench) {
  const { alice, bob } = bench.cast
  await Promise.all(bench.hosts.map((host) => host.stop()))
  await Promise.all(bench.hosts.map((host) => host.start()))
  for (const account of [alice, bob]) {
    await life.post(account, 'after the restart of the host')
    await bench.ledger.settles(account, '#commit create')
  }
}

async function changeWhileDown({ cast: { bob }, ledger, relay }) {
  await relay.kill('SIGKILL')
  await life.changeHandle(bob, 'bobby.test')
  await life.deactivate(bob)
  await life.activate(bob)
  await life.post(bob, 'nobody listened')
  await relay.start()
  await ledger.settles(bob, '#identity bobby.test', '#account deactivated', ...RETURNED(bob), '#commit create')
}

async function stopWhileWriting(bench) {
  await whileWriting(bench, async (more) => {
    equal(await bench.relay.kill('SIGTERM'), 0, 'exit code')
    await more('while the relay is down')
    await bench.relay.start()
    await more('after the start')
  })
}

async function collect({ cast: { bob, carol }, ledger }) {
  for (const account of [bob, carol]) await ledger.settles(account, ...(await life.comeAndGo(account)))
}

/** Who has records of a kind is exactly what both hosts say, after all that happened. */
async function sameCollections({ cast, relay }) {
  const { dora: _deleted, ...others } = cast
  const expected = Object.fromEntries(life.EMPTIED.map((name) => [name, []]))
  for (const account of Object.values(others)) {
    for (const name of await life.collectionsOf(account)) (expected[name] ??= []).push(account.did)
  }
  equal(expected[life.KEPT]?.length, 2, 'the kind that was kept')
  await relay.fillCollections()
  let differing
  await until(() => `the same collections: ${JSON.stringify(differing)}`, async () => {
    differing = []
    for (const [name, dids] of Object.entries(expected)) {
      const found = (await relay.havingRecordsOf(name)).sort()
      if (JSON.stringify(found) !== JSON.stringify(dids.sort())) differing.push({ name, found, dids })
    }
    return differing.length === 0
  })
}

/** In order; each builds on those before it. */
export const chapters = [
  ['requestCrawl of both hosts answers 200', crawl],
  ['creation: #identity, #account, first #commit', create],
  ['200 mixed writes: one #commit each', writeMuch],
  ['handle change: #identity with the new handle', changeHandle],
  ['deactivation: #account deactivated, and served so', deactivate],
  ['activation: #account active, #identity, #sync of the known rev', activate],
  ['takedown at the host: #account takendown, and served so', takeDown],
  ['its reversal: #account active and nothing else', reverseTakedown],
  ['key rotation: #identity, #sync with a new rev, commits go on', rotate],
  ['key rotation that nobody announces: the commit passes', rotateSilently],
  ['wrong key in the directory: #identity, commits dropped as bad_signature', wrongKey],
  ['its repair: #identity, commits go on', repairKey],
  ['relay killed while hosts write, started again: nothing lost, nothing twice', killWhileWriting],
  ['no known identity was looked up after the kill', noLookups],
  ['migration, copying to B: what A writes meanwhile passes', copyWhileWriting],
  ['migration, hand-over: #identity, #account, #identity of B; its #sync is older than what A wrote', (bench) => moveOver(bench, bench.cast.alice, 'stale')],
  ['migration, afterwards: writes and #account of A dropped as wrong_host, commits of B pass', (bench) => leave(bench, bench.cast.alice)],
  ["migration without writes: B's #sync dropped as commit_mismatch", moveIdle],
  ['getRepo redirects to B', redirect],
  ['deletion: #account deleted, and served so', remove],
  ['both hosts restarted: commits go on', restartHosts],
  ['handle, status and repo changed while the relay is dead: each told once', changeWhileDown],
  ['relay stopped with SIGTERM while hosts write: exit code 0, nothing lost', stopWhileWriting],
  ['records of three kinds are written, all of two kinds deleted', collect],
  ['listReposByCollection is what describeRepo of both hosts says, kind by kind', sameCollections],
]
