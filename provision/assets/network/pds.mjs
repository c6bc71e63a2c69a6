// A reference PDS on port 80, for a network of containers in which there is no TLS between hosts.
// PDS_HOSTNAME is its name there, PDS_ROTATION_KEY 64 hexadecimal digits, PDS_SECRET any text; PDS_CRAWLERS
// are relays that it asks to read it when it has something new after a start, with commas.
import fs from 'node:fs/promises'
import { Secp256k1Keypair } from '@atproto/crypto'
import { PDS, envToCfg, envToSecrets } from '@atproto/pds'

const { PDS_HOSTNAME, PDS_ROTATION_KEY, PDS_ADMIN_PASSWORD, PDS_SECRET, PDS_DID_PLC_URL } = process.env
const { PDS_CRAWLERS = '' } = process.env
await fs.mkdir('/data/blobs', { recursive: true })
const rotation = await Secp256k1Keypair.import(PDS_ROTATION_KEY)
const env = {
  devMode: true,
  port: 80,
  hostname: PDS_HOSTNAME,
  dataDirectory: '/data',
  blobstoreDiskLocation: '/data/blobs',
  recoveryDidKey: rotation.did(),
  adminPassword: PDS_ADMIN_PASSWORD,
  jwtSecret: PDS_SECRET,
  serviceHandleDomains: ['.test'],
  bskyAppViewUrl: 'https://appview.invalid',
  bskyAppViewDid: 'did:example:invalid',
  modServiceUrl: 'https://mod.invalid',
  modServiceDid: 'did:example:invalid',
  plcRotationKeyK256PrivateKeyHex: PDS_ROTATION_KEY,
  inviteRequired: false,
  disableSsrfProtection: true,
  didPlcUrl: PDS_DID_PLC_URL,
  crawlers: PDS_CRAWLERS.split(',').filter((relay) => relay !== ''),
}
const cfg = envToCfg(env)
const pds = await PDS.create(cfg, envToSecrets(env))
// By itself it takes every name but localhost for one with TLS. Its pages for people insist on that,
// so the address that identities get is changed when they are there.
pds.ctx.cfg.service.publicUrl = `http://${PDS_HOSTNAME}`
await pds.start()
console.log(`the PDS ${cfg.service.publicUrl} listens on 80`)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => pds.destroy().then(() => process.exit(0)))
