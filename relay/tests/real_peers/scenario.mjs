// The life of accounts on two PDSes, as the reference implementation produces it.
import fs from 'node:fs/promises'
import { Secp256k1Keypair } from '@atproto/crypto'
import { scripts } from '@atproto/pds'
import { createAccount } from './network.mjs'

const COLLECTION = 'app.bsky.feed.post'

export const post = (account, text) =>
  account.host.call(
    'com.atproto.repo.createRecord',
    {
      repo: account.did,
      collection: COLLECTION,
      record: { $type: COLLECTION, text, createdAt: new Date().toISOString() },
    },
    { token: account.token },
  )

/** 200 mixed writes: creates, updates, deletes, and lists of several operations. */
export async function mixedWrites(account) {
  const keys = []
  const record = (text) => ({ $type: COLLECTION, text, createdAt: new Date().toISOString() })
  const base = { repo: account.did, collection: COLLECTION }
  for (let i = 0; i < 200; i += 1) {
    const turn = i % 10
    if (turn < 5) {
      const made = await post(account, `post ${i}`)
      keys.push(made.uri.split('/').pop())
    } else if (turn < 7) {
      const rkey = keys[i % keys.length]
      await account.host.call(
        'com.atproto.repo.putRecord',
        { ...base, rkey, record: record(`edited ${i}`) },
        { token: account.token },
      )
    } else if (turn < 9) {
      const rkey = keys.splice(i % keys.length, 1)[0]
      await account.host.call('com.atproto.repo.deleteRecord', { ...base, rkey }, { token: account.token })
    } else {
      const gone = keys.shift()
      const writes = [
        { $type: 'com.atproto.repo.applyWrites#create', collection: COLLECTION, rkey: `batch-${i}-a`, value: record('a') },
        { $type: 'com.atproto.repo.applyWrites#create', collection: 'app.bsky.feed.like', rkey: `batch-${i}-b`, value: { $type: 'app.bsky.feed.like', n: i } },
        { $type: 'com.atproto.repo.applyWrites#delete', collection: COLLECTION, rkey: gone },
      ]
      await account.host.call(
        'com.atproto.repo.applyWrites',
        { repo: account.did, validate: false, writes },
        { token: account.token },
      )
    }
  }
}

export const changeHandle = (account, handle) =>
  account.host.call('com.atproto.identity.updateHandle', { handle }, { token: account.token })

export const deactivate = (account) =>
  account.host.call('com.atproto.server.deactivateAccount', {}, { token: account.token })

export const activate = (account) => account.host.post('com.atproto.server.activateAccount', account.token)

export const takedown = (account, applied) =>
  account.host.call(
    'com.atproto.admin.updateSubjectStatus',
    {
      subject: { $type: 'com.atproto.admin.defs#repoRef', did: account.did },
      takedown: { applied, ref: 'test' },
    },
    { admin: true },
  )

export const remove = (account) =>
  account.host.call('com.atproto.admin.deleteAccount', { did: account.did }, { admin: true })

/** A new signing key, in the directory and at the PDS, announced. */
export async function rotateKey(account) {
  const { ctx } = account.host
  const key = await Secp256k1Keypair.create({ exportable: true })
  const { keyLocation } = await ctx.actorStore.getLocation(account.did)
  await fs.writeFile(keyLocation, await key.export())
  const log = console.log
  console.log = () => {}
  try {
    await scripts['rotate-keys'](ctx, [account.did])
  } finally {
    console.log = log
  }
}

/** The directory names a key that the PDS does not have; returns a function that repairs it. */
export async function wrongKeyInDirectory(account) {
  const { ctx } = account.host
  const right = (await ctx.actorStore.keypair(account.did)).did()
  const wrong = (await Secp256k1Keypair.create()).did()
  await ctx.plcClient.updateAtprotoKey(account.did, ctx.plcRotationKey, wrong)
  return () => ctx.plcClient.updateAtprotoKey(account.did, ctx.plcRotationKey, right)
}

/** Moves an account to another PDS the way clients do; `between` runs before the old one is left. */
export async function migrate(account, target, between) {
  const source = account.host
  const auth = await source.call('com.atproto.server.getServiceAuth', undefined, {
    token: account.token,
    query: { aud: 'did:web:localhost', lxm: 'com.atproto.server.createAccount' },
  })
  const made = await target.call(
    'com.atproto.server.createAccount',
    { did: account.did, handle: account.handle, email: `${account.name}@mail.test`, password: 'pass-word' },
    { token: auth.token },
  )
  const car = await source.call('com.atproto.sync.getRepo', undefined, { query: { did: account.did }, raw: true })
  await target.call('com.atproto.repo.importRepo', car, { token: made.accessJwt, encoding: 'application/vnd.ipld.car' })
  const wanted = await target.call('com.atproto.identity.getRecommendedDidCredentials', undefined, { token: made.accessJwt })
  await source.post('com.atproto.identity.requestPlcOperationSignature', account.token)
  const signed = await source.call(
    'com.atproto.identity.signPlcOperation',
    { token: source.plcTokens.pop(), ...wanted },
    { token: account.token },
  )
  await target.call('com.atproto.identity.submitPlcOperation', { operation: signed.operation }, { token: made.accessJwt })
  await target.post('com.atproto.server.activateAccount', made.accessJwt)
  await between()
  await deactivate(account)
  return { ...account, host: target, token: made.accessJwt }
}

export { createAccount }
