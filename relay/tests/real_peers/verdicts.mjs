// What was recorded on all sides, compared. Nothing is written any more.
import { equal, none, until } from './checks.mjs'
import { RawConsumer, frameWithSeq, identityOf } from './frames.mjs'

const OTHERS = ['#identity', '#account', '#sync']
const commitsOf = (events) => events.filter(({ kind }) => kind === '#commit')
const operation = (did, { rev }, { action, path }) => `${did} ${rev} ${action} ${path}`
const query = ({ did }) => ({ did })
const words = ({ did, payload, words }) => `${did} ${payload.seq} ${words}`

/** How often each event of a host, recognised by all but its seq, came out of the relay. */
function countsOf(events) {
  const counts = new Map()
  for (const event of events) {
    const key = identityOf(event)
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return counts
}

/** Everything that the hosts sent, apart from what must be refused, once; nothing else. */
function exactlyOnce(bench, kinds) {
  const ofKinds = (events) => events.filter(({ kind }) => kinds.includes(kind))
  const passed = ofKinds(bench.heard.events)
  const sent = ofKinds(bench.sent())
  const counts = countsOf(passed)
  const known = new Set(sent.map(identityOf))
  none(passed.filter((event) => counts.get(identityOf(event)) !== 1).map(words), 'came more than once')
  none(passed.filter((event) => !known.has(identityOf(event))).map(words), 'were sent by no host')
  const refused = bench.ledger.refused().flatMap((entry) => entry.refused)
  const isOfKinds = (word) => kinds.some((kind) => word.startsWith(kind))
  equal(passed.length, sent.length - refused.filter(isOfKinds).length, 'events')
}

async function refusedExactly(bench) {
  const passed = countsOf(bench.heard.events)
  for (const { did, name, refused } of bench.ledger.refused()) {
    const missing = bench.sent(did).filter((event) => !passed.has(identityOf(event)))
    equal(missing.map(({ words }) => words).sort(), [...refused].sort(), `refused of ${name}`)
  }
}

/** Byte for byte what the host sent, with another seq. */
async function bytesUnchanged(bench) {
  const hosts = new Map(bench.sent().map((event) => [identityOf(event), event]))
  const changed = bench.heard.events.filter((event) => {
    const theirs = hosts.get(identityOf(event))
    return !theirs || !frameWithSeq(theirs, event.payload.seq).equals(event.bytes)
  })
  none(changed.map(words), 'frames differ')
}

async function revsIncrease({ heard }) {
  const last = new Map()
  const wrong = []
  for (const { did, payload } of commitsOf(heard.events)) {
    if (last.has(did) && payload.rev <= last.get(did)) wrong.push(`${did} ${payload.rev}`)
    last.set(did, payload.rev)
  }
  none(wrong, 'revs do not increase')
}

/** What a consumer that starts late reads from `cursor` is what was heard live, byte for byte. */
async function replays({ relay, heard }, cursors) {
  for (const cursor of cursors) {
    const rest = heard.events.filter(({ payload }) => payload.seq > cursor)
    const late = new RawConsumer(relay.firehose, cursor)
    try {
      await until(`the rest after ${cursor}`, () => late.cursor === heard.cursor)
    } finally {
      late.stop()
    }
    equal(late.errors, [])
    equal(late.events.map(({ payload }) => payload.seq), rest.map(({ payload }) => payload.seq))
    const isOther = (event, i) => !Buffer.from(event.bytes).equals(rest[i].bytes)
    none(late.events.filter(isOther).map(({ payload }) => payload.seq), 'frames differ')
  }
}

const fromMiddle = (bench) => {
  const seqs = bench.heard.events.map(({ payload }) => payload.seq)
  return replays(bench, [0.1, 0.5, 0.9].map((share) => seqs[Math.floor(seqs.length * share)]))
}

async function everyOperationVerified(bench) {
  const { heard, sync } = bench
  await bench.consumersCaughtUp()
  const expected = commitsOf(heard.events).flatMap(({ did, payload }) =>
    payload.ops.map((op) => `${payload.seq} ${operation(did, payload, op)}`),
  )
  const found = new Set([...sync.events.values()].filter((event) => event.collection).map(verified))
  none(expected.filter((words) => !found.has(words)), `of ${expected.length} not verified`)
  equal(found.size, expected.length)
}

const verified = ({ seq, did, rev, event, collection, rkey }) =>
  `${seq} ${operation(did, { rev }, { action: event, path: `${collection}/${rkey}` })}`

/** The other kinds, with the handle that the consumer has verified in both directions. */
async function everyAnnouncementVerified({ heard, sync }) {
  const others = heard.events.filter(({ kind }) => kind !== '#commit')
  const expected = others.map(({ kind, did, payload }) => `${payload.seq} ${kind} ${did}`)
  const told = [...sync.events.values()].filter(({ event }) => ['identity', 'account', 'sync'].includes(event))
  const found = told.map(({ seq, event, did }) => `${seq} #${event} ${did}`)
  equal(found.sort(), expected.sort())
  const claimed = new Map(others.map(({ payload }) => [payload.seq, payload.handle]))
  const wrong = told.filter(({ event, seq, handle }) => {
    const said = claimed.get(seq)
    return event === 'identity' && (!handle || (said && said !== handle))
  })
  none(wrong.map(({ seq, did, handle }) => `${seq} ${did} ${handle}`), 'handles not verified')
}

async function pythonReadAll({ heard, python }) {
  await until('the Python client catches up', () => python.events.at(-1)?.seq === heard.cursor)
  const expected = heard.events.map(({ kind, did, payload }) => {
    const records = payload.ops?.filter(({ cid }) => cid).map(({ path }) => path)
    return [payload.seq, kind, did, records]
  })
  const found = python.events.map(({ seq, kind, did, records }) => [seq, `#${kind.toLowerCase()}`, did, records])
  const seqs = (rows) => rows.map(([seq]) => seq)
  equal(seqs(found), seqs(expected))
  none(found.filter((row, i) => JSON.stringify(row) !== JSON.stringify(expected[i])), 'read otherwise')
}

async function latestCommits({ relay, cast }) {
  for (const account of living(cast)) {
    const method = 'com.atproto.sync.getLatestCommit'
    equal((await relay.get(method, query(account))).body, await account.host.get(method, query(account)), account.name)
  }
}

async function statuses({ relay, cast }) {
  const row = ({ did, active, status, rev }) => [did, active, status, rev]
  for (const account of living(cast)) {
    const method = 'com.atproto.sync.getRepoStatus'
    const ours = (await relay.get(method, query(account))).body
    equal(row(ours), row(await account.host.get(method, query(account))), account.name)
  }
}

/** Each account as its present host lists it; pages of one must give the same as one page. */
async function lists({ relay, cast }) {
  const method = 'com.atproto.sync.listRepos'
  const row = ({ did, head, rev, active, status }) => [did, head, rev, active, status]
  const whole = (await relay.get(method, { limit: 1000 })).body.repos.map(row)
  const pages = []
  let cursor
  do {
    const { body } = await relay.get(method, cursor ? { limit: 1, cursor } : { limit: 1 })
    pages.push(...body.repos.map(row))
    cursor = body.cursor
  } while (cursor)
  equal(pages, whole, 'limit=1')
  const expected = []
  for (const account of living(cast)) {
    const { repos } = await account.host.get(method, { limit: 1000 })
    expected.push(row(repos.find(({ did }) => did === account.did)))
  }
  const deleted = whole.filter(([did]) => did === cast.dora.did)
  none(deleted.filter(([, , , active, status]) => active || status !== 'deleted'), 'deleted ones are listed otherwise')
  equal(whole.filter(([did]) => did !== cast.dora.did).sort(), expected.sort())
}

async function hostList({ relay, a, b, truth }) {
  const fetch = async () => (await relay.get('com.atproto.sync.listHosts', {})).body.hosts
  const seqs = truth.map(({ cursor }) => cursor)
  // A host's mark moves after its events are out.
  await until('the marks of the hosts', async () => (await fetch()).every(({ seq }, i) => seq === seqs[i]))
  const row = ({ hostname, status, accountCount, seq }) => [hostname, status, accountCount, seq]
  equal((await fetch()).map(row), [
    [a.hostname, 'active', 1, seqs[0]],
    [b.hostname, 'active', 3, seqs[1]],
  ])
}

const living = ({ alice, bob, carol, erin }) => [alice, bob, carol, erin]

/** In any order; each looks at all that was recorded. */
export const verdicts = [
  ['each account got exactly the sequence of spec 9.3', async ({ ledger }) => none(ledger.differences(), 'differ')],
  ['every #commit came exactly once', async (bench) => exactlyOnce(bench, ['#commit'])],
  ['every #identity, #account and #sync came exactly once', async (bench) => exactlyOnce(bench, OTHERS)],
  ['what did not come is exactly what must not', refusedExactly],
  ['every frame is what the host sent, byte for byte, but for seq', bytesUnchanged],
  ['per account, rev increases', revsIncrease],
  ['no consumer saw an error frame, or a seq twice or backwards', async ({ heard }) => equal(heard.errors, [])],
  ['cursor 0 replays everything, byte for byte', (bench) => replays(bench, [0])],
  ['a cursor in the middle replays exactly the rest', fromMiddle],
  ['@atproto/sync verified every operation of every commit', everyOperationVerified],
  ['@atproto/sync verified every #identity, #account and #sync, with handles', everyAnnouncementVerified],
  ['@atproto/sync complained of nothing', async ({ sync }) => equal(sync.complaints(), [])],
  ['the Python client read every event once, with its records', pythonReadAll],
  ['the Python client complained of nothing', async ({ python }) => equal(python.errors, [])],
  ['getLatestCommit agrees with the hosts', latestCommits],
  ['getRepoStatus agrees with the hosts', statuses],
  ['listRepos agrees with the hosts, page by page', lists],
  ['listHosts shows both hosts as active, with their accounts and seqs', hostList],
]
