// The built relay as a child process on fixed free ports, so that it can be killed and started again.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { freePort } from './network.mjs'

export async function createRelay(binary, plcUrl, parentDir) {
  const [api, admin, metrics] = [await freePort(), await freePort(), await freePort()]
  const log = path.join(parentDir, 'relay.log')
  const relay = {
    url: `http://127.0.0.1:${api}`,
    firehose: `ws://127.0.0.1:${api}`,
    log,
    child: undefined,
    async start() {
      const out = fs.openSync(log, 'a')
      relay.child = spawn(binary, ['serve', '--dev'], {
        cwd: parentDir,
        stdio: ['ignore', out, out],
        env: {
          PATH: process.env.PATH,
          RELAY_DATA_DIR: path.join(parentDir, 'relay'),
          RELAY_PLC_HOST: plcUrl,
          RELAY_API_BIND: `127.0.0.1:${api}`,
          RELAY_ADMIN_BIND: `127.0.0.1:${admin}`,
          RELAY_METRICS_LISTEN: `127.0.0.1:${metrics}`,
          RELAY_ADMIN_PASSWORD: 'relay-admin',
          RELAY_LOG_LEVEL: 'info',
        },
      })
      fs.closeSync(out)
      relay.child.exited = once(relay.child, 'exit')
    },
    async kill(signal) {
      relay.child.kill(signal)
      await relay.child.exited
      return relay.child.exitCode
    },
    async get(method, query) {
      const answer = await fetch(`${relay.url}/xrpc/${method}?${new URLSearchParams(query)}`, {
        redirect: 'manual',
      })
      const text = await answer.text()
      return { status: answer.status, location: answer.headers.get('location'), body: text.startsWith('{') ? JSON.parse(text) : text }
    },
    async crawl(hostname) {
      const answer = await fetch(`${relay.url}/xrpc/com.atproto.sync.requestCrawl`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ hostname }),
      })
      return { status: answer.status, text: await answer.text() }
    },
    async why(query) {
      const answer = await fetch(`http://127.0.0.1:${admin}/admin/v1/why?${new URLSearchParams(query)}`, {
        headers: { authorization: `Basic ${btoa('admin:relay-admin')}` },
      })
      return answer.text()
    },
    async healthy() {
      try {
        return (await fetch(`${relay.url}/xrpc/_health`)).ok
      } catch {
        return false
      }
    },
  }
  return relay
}
