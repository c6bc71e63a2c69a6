// The life of accounts on two PDSes, as the reference implementation produces it.
import fs from 'node:fs/promises'
import { Secp256k1Keypair } from '@atproto/crypto'
import { scripts } from '@atproto/pds'

const POST = 'app.bsky.feed.post'
const LIKE = 'app.bsky.feed.like'
const WRITES = 200

const record = (text) => ({ $type: POST, text, createdAt: new Date().toISOString() })
const write = (account, method, body) =>
  account.host.post(`com.atproto.repo.${method}`, { repo: account.did, ...body }, { token: account.token })

export async function createAccount(host, name) {
  const handle = `${name}.test`
  const made = await host.post('com.atproto.server.createAccount', {
    handle,
    email: `${name}@mail.test`,
    password: 'pass-word',
  })
  return { name, handle, did: made.did, token: made.accessJwt, host }
}

export const post = (account, text) => write(account, 'createRecord', { collection: POST, record: record(text) })

/** 200 mixed writes; gives what each must come out as. */
export async function mixedWrites(account) {
  const keys = []
  const words = []
  for (let i = 0; i < WRITES; i += 1) {
    const turn = i % 10
    if (turn < 5) {
      keys.push((await post(account, `post ${i}`)).uri.split('/').pop())
      words.push('#commit create')
    } else if (turn < 7) {
      const rkey = keys[i % keys.length]
      await write(account, 'putRecord', { collection: POST, rkey, record: record(`edited ${i}`) })
      words.push('#commit update')
    } else if (turn < 9) {
      const rkey = keys.splice(i % keys.length, 1)[0]
      await write(account, 'deleteRecord', { collection: POST, rkey })
      words.push('#commit delete')
    } else {
      await write(account, 'applyWrites', { validate: false, writes: severalWrites(keys, i) })
      words.push('#commit create+create+delete+update')
    }
  }
  return words
}

/** Kinds of records of which an account writes some and deletes all again, and one that it keeps. */
export const EMPTIED = ['com.example.note', LIKE]
export const KEPT = 'com.example.photo'
const OF_EACH = 3

/** Records of three collections, then none of two of them; gives what each write must come out as. */
export async function comeAndGo(account) {
  const words = []
  const keys = Array.from({ length: OF_EACH }, (_, i) => `kept-${i}`)
  for (const collection of [...EMPTIED, KEPT]) {
    for (const rkey of keys) {
      const made = { $type: collection, text: rkey }
      await write(account, 'createRecord', { collection, rkey, validate: false, record: made })
      words.push('#commit create')
    }
  }
  for (const collection of EMPTIED) {
    for (const { uri } of (await account.host.get('com.atproto.repo.listRecords', { repo: account.did, collection })).records) {
      await write(account, 'deleteRecord', { collection, rkey: uri.split('/').pop() })
      words.push('#commit delete')
    }
  }
  return words
}

/** The collections that the host says the account has. */
export const collectionsOf = async ({ host, did }) =>
  (await host.get('com.atproto.repo.describeRepo', { repo: did })).collections

function severalWrites(keys, i) {
  const kind = (name) => `com.atproto.repo.applyWrites#${name}`
  const like = { $type: LIKE, n: i }
  return [
    { $type: kind('create'), collection: POST, rkey: `batch-${i}`, value: record(`batch ${i}`) },
    { $type: kind('create'), collection: LIKE, rkey: `batch-${i}`, value: like },
    { $type: kind('delete'), collection: POST, rkey: keys.shift() },
    { $type: kind('update'), collection: POST, rkey: keys[0], value: record(`edited ${i}`) },
  ]
}

/** Writes one record after the other until stopped; `stop` gives how many. */
export function keepWriting(account) {
  const writing = { count: 0, lastRev: undefined }
  let going = true
  const run = async () => {
    while (going) {
      writing.lastRev = (await post(account, `unceasing ${writing.count}`)).commit.rev
      writing.count += 1
    }
  }
  const running = run()
  // Whoever stops it learns of a failure; until then it is not an unhandled one.
  running.catch(() => {})
  writing.stop = async () => {
    going = false
    await running
    return writing.count
  }
  return writing
}

export async function changeHandle(account, handle) {
  await account.host.post('com.atproto.identity.updateHandle', { handle }, { token: account.token })
  account.handle = handle
}

export const deactivate = (account) =>
  account.host.post('com.atproto.server.deactivateAccount', {}, { token: account.token })

export const activate = (account) =>
  account.host.post('com.atproto.server.activateAccount', undefined, { token: account.token })

export const takedown = (account, applied) =>
  account.host.post(
    'com.atproto.admin.updateSubjectStatus',
    {
      subject: { $type: 'com.atproto.admin.defs#repoRef', did: account.did },
      takedown: { applied, ref: 'test' },
    },
    { admin: true },
  )

export const remove = (account) =>
  account.host.post('com.atproto.admin.deleteAccount', { did: account.did }, { admin: true })

/** The host tells that something changed, without saying what. */
export const announce = (account) => account.host.ctx.sequencer.sequenceIdentity(account.did)

const setKeyInDirectory = ({ did, host: { ctx } }, key) =>
  ctx.plcClient.updateAtprotoKey(did, ctx.plcRotationKey, key.did())

async function newKeyAtHost({ did, host: { ctx } }) {
  const key = await Secp256k1Keypair.create({ exportable: true })
  const { keyLocation } = await ctx.actorStore.getLocation(did)
  await fs.writeFile(keyLocation, await key.export())
  return key
}

/** A new signing key at the host and in the directory, announced: the host's own program for it. */
export async function rotateKey(account) {
  await newKeyAtHost(account)
  const log = console.log
  console.log = () => {}
  try {
    await scripts['rotate-keys'](account.host.ctx, [account.did])
  } finally {
    console.log = log
  }
}

/** The same, but nobody is told. */
export const rotateKeySilently = async (account) => setKeyInDirectory(account, await newKeyAtHost(account))

/** The directory names a key that the host does not have; gives a function that repairs it. */
export async function wrongKeyInDirectory(account) {
  const right = await account.host.ctx.actorStore.keypair(account.did)
  await setKeyInDirectory(account, await Secp256k1Keypair.create())
  return () => setKeyInDirectory(account, right)
}

/** Copies an account to another PDS the way clients do, and prepares the change of its identity. */
export async function copyAccount(account, target) {
  const { host: source, did, token } = account
  const service = await source.get(
    'com.atproto.server.getServiceAuth',
    { aud: 'did:web:localhost', lxm: 'com.atproto.server.createAccount' },
    { token },
  )
  const made = await target.post(
    'com.atproto.server.createAccount',
    { did, handle: account.handle, email: `${account.name}@mail.test`, password: 'pass-word' },
    { token: service.token },
  )
  const moved = { ...account, host: target, token: made.accessJwt }
  const car = await source.get('com.atproto.sync.getRepo', { did }, { raw: true })
  await target.post('com.atproto.repo.importRepo', car, moved)
  const wanted = await target.get('com.atproto.identity.getRecommendedDidCredentials', {}, moved)
  await source.post('com.atproto.identity.requestPlcOperationSignature', undefined, { token })
  const signed = await source.post(
    'com.atproto.identity.signPlcOperation',
    { token: source.plcTokens.pop(), ...wanted },
    { token },
  )
  const handOver = () =>
    target.post('com.atproto.identity.submitPlcOperation', { operation: signed.operation }, moved)
  return { moved, handOver }
}
