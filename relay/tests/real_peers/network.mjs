// A PLC directory and reference PDSes in this process, on free ports and in temporary directories.
import fs from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { Secp256k1Keypair } from '@atproto/crypto'
import { PDS } from '@atproto/pds'
import * as plcPackage from '@did-plc/server'

const plcServer = plcPackage.PlcServer ? plcPackage : plcPackage.default
const ADMIN_PASSWORD = 'admin-pass'
/** For a peer that does not answer at all; they share one process, which may be starved for a while. */
export const REQUEST_MS_MAX = 60_000

/**
 * A port that is free, and stays so while its server is down: it lies below the range from which the
 * system takes ports for outgoing connections.
 */
export async function freePort() {
  const range = await fs.readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '32768')
  const end = Number.parseInt(range, 10)
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * (end - 10_000))
    const server = net.createServer()
    const isFree = await new Promise((done) => {
      server.once('error', () => done(false))
      server.listen({ port, host: '::', exclusive: true }, () => done(true))
    })
    if (!isFree) continue
    await new Promise((done) => server.close(done))
    return port
  }
}

/** The reference directory; gives its URL. */
export async function startPlc() {
  const port = await freePort()
  const server = plcServer.PlcServer.create({ db: plcServer.Database.mock(), port })
  await server.start()
  return `http://localhost:${port}`
}

/** The directory as the relay alone sees it: passes every request on and notes it. */
export async function watchPlc(plcUrl) {
  const requests = []
  const server = http.createServer(async (request, response) => {
    requests.push(decodeURIComponent(request.url))
    try {
      const answer = await fetch(plcUrl + request.url, { method: request.method })
      const body = Buffer.from(await answer.arrayBuffer())
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
      response.end(body)
    } catch (error) {
      response.writeHead(502).end(String(error))
    }
  })
  const port = await freePort()
  await new Promise((done) => server.listen(port, done))
  return { url: `http://localhost:${port}`, requests }
}

/** A reference PDS that can be stopped and started again on the same port with the same data. */
export class Host {
  plcTokens = []
  #env
  #pds

  static async start(name, plcUrl, parentDir) {
    const host = new Host()
    const port = await freePort()
    const dir = path.join(parentDir, `pds-${name}`)
    await fs.mkdir(dir)
    const rotationKey = await Secp256k1Keypair.create({ exportable: true })
    host.name = name
    host.hostname = `localhost:${port}`
    host.url = `http://localhost:${port}`
    host.firehose = `ws://localhost:${port}`
    host.#env = {
      devMode: true,
      port,
      hostname: 'localhost',
      dataDirectory: dir,
      blobstoreDiskLocation: path.join(dir, 'blobs'),
      recoveryDidKey: (await Secp256k1Keypair.create()).did(),
      adminPassword: ADMIN_PASSWORD,
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
    await host.start()
    return host
  }

  get ctx() {
    return this.#pds.ctx
  }

  async start() {
    this.#pds = await PDS.fromEnv(this.#env)
    // Mails cannot be sent here; the one that a migration needs is caught instead.
    this.#pds.ctx.mailer.sendPlcOperation = async ({ token }) => {
      this.plcTokens.push(token)
    }
    await this.#pds.start()
  }

  async stop() {
    await this.#pds.destroy()
  }

  /** GET with a query. */
  get(method, query, { token, raw } = {}) {
    return this.#request(`${method}?${new URLSearchParams(query)}`, { headers: bearer(token) }, raw)
  }

  /** POST with a body: JSON, a CAR, or nothing. */
  post(method, body, { token, admin } = {}) {
    const headers = admin ? { authorization: `Basic ${btoa(`admin:${ADMIN_PASSWORD}`)}` } : bearer(token)
    const isCar = body instanceof Uint8Array
    if (body !== undefined) headers['content-type'] = isCar ? 'application/vnd.ipld.car' : 'application/json'
    return this.#request(method, { method: 'POST', headers, body: isCar ? body : JSON.stringify(body) })
  }

  async #request(call, options, raw = false) {
    const signal = AbortSignal.timeout(REQUEST_MS_MAX)
    const answer = await fetch(`${this.url}/xrpc/${call}`, { signal, ...options })
    if (!answer.ok) throw new Error(`${this.name} ${call}: ${answer.status} ${await answer.text()}`)
    if (raw) return new Uint8Array(await answer.arrayBuffer())
    const text = await answer.text()
    return text ? JSON.parse(text) : undefined
  }
}

const bearer = (token) => (token ? { authorization: `Bearer ${token}` } : {})
