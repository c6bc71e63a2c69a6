// Packages lie in the cache, not beside this file, and NODE_PATH does not reach `import`: a program
// that imports this first finds them in REAL_PEERS_MODULES.
import { registerHooks } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

for (const name of ['RELAY_BINARY', 'REAL_PEERS_MODULES', 'REAL_PEERS_PYTHON']) {
  if (!process.env[name]) {
    console.error(`real peers: ${name} is not set; run \`provision/test --only build,real-peers\``)
    process.exit(1)
  }
}

const here = new URL('.', import.meta.url).href
const there = pathToFileURL(path.join(process.env.REAL_PEERS_MODULES, '..', 'from-here.mjs')).href
registerHooks({
  resolve(specifier, context, next) {
    const isPackage = !/^(\.|\/|node:|file:)/.test(specifier)
    const isOurs = context.parentURL?.startsWith(here)
    return next(specifier, isPackage && isOurs ? { ...context, parentURL: there } : context)
  },
})
