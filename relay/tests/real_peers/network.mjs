// A PLC directory and reference PDSes in this process, on free ports and in temporary directories.
import fs from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { Secp256k1Keypair } from '@atproto/crypto'
import { PDS } from '@atproto/pds'
import * as plcPackage from '@did-plc/server'

const plcServer = plcPackage.PlcServer ? plcPackage : plcPackage.default

/** A port that was free a moment ago. */
export async function freePort() {
  const server = net.createServer()
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address()
  await new Promise((done) => server.close(done))
  return port
}

export async function startPlc() {
  const port = await freePort()
  const server = plcServer.PlcServer.create({ db: plcServer.Database.mock(), port })
  await server.start()
  return { url: `http://localhost:${port}`, stop: () => server.destroy() }
}

/** A PDS that can be stopped and started again on the same port with the same data. */
export async function createPds(name, plcUrl, parentDir) {
  const port = await freePort()
  const dir = path.join(parentDir, `pds-${name}`)
  await fs.mkdir(dir)
  const rotationKey = await Secp256k1Keypair.create({ exportable: true })
  const env = {
    devMode: true,
    port,
    hostname: 'localhost',
    dataDirectory: dir,
    blobstoreDiskLocation: path.join(dir, 'blobs'),
    recoveryDidKey: (await Secp256k1Keypair.create()).did(),
    adminPassword: 'admin-pass',
    jwtSecret: 'jwt-secret',
    serviceHandleDomains: ['.test'],
    bskyAppViewUrl: 'https://appview.invalid',
    bskyAppViewDid: 'did:example:invalid',
    modServiceUrl: 'https://mod.invalid',
    modServiceDid: 'did:example:invalid',
    plcRotationKeyK256PrivateKeyHex: Buffer.from(await rotationKey.export()).toString('hex'),
    inviteRequired: false,
    disableSsrfProtection: true,
    didPlcUrl: plcUrl,
  }
  const host = {
    name,
    hostname: `localhost:${port}`,
    url: `http://localhost:${port}`,
    rotationKey,
    pds: undefined,
    plcTokens: [],
    get ctx() {
      return host.pds.ctx
    },
    async start() {
      host.pds = await PDS.fromEnv(env)
      // Mails cannot be sent here; the one that a migration needs is caught instead.
      host.pds.ctx.mailer.sendPlcOperation = async ({ token }) => {
        host.plcTokens.push(token)
      }
      await host.pds.start()
    },
    async stop() {
      await host.pds.destroy()
    },
    async call(method, body, { token, admin, query, raw, encoding } = {}) {
      const headers = {}
      if (token) headers.authorization = `Bearer ${token}`
      if (admin) headers.authorization = `Basic ${btoa('admin:admin-pass')}`
      if (body !== undefined) headers['content-type'] = encoding ?? 'application/json'
      const parameters = query ? `?${new URLSearchParams(query)}` : ''
      const answer = await fetch(`${host.url}/xrpc/${method}${parameters}`, {
        method: body === undefined && !encoding ? 'GET' : 'POST',
        headers,
        body: body === undefined ? undefined : encoding ? body : JSON.stringify(body),
      })
      if (!answer.ok) throw new Error(`${name} ${method}: ${answer.status} ${await answer.text()}`)
      if (raw) return new Uint8Array(await answer.arrayBuffer())
      const text = await answer.text()
      return text ? JSON.parse(text) : undefined
    },
    /** POST with an empty body. */
    async post(method, token) {
      const answer = await fetch(`${host.url}/xrpc/${method}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
      })
      if (!answer.ok) throw new Error(`${name} ${method}: ${answer.status} ${await answer.text()}`)
    },
  }
  await host.start()
  return host
}

export async function createAccount(host, name) {
  const handle = `${name}.test`
  const made = await host.call('com.atproto.server.createAccount', {
    handle,
    email: `${name}@mail.test`,
    password: 'pass-word',
  })
  return { name, handle, did: made.did, token: made.accessJwt, host }
}
