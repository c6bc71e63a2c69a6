// What must come out of the relay for each account, event by event (spec 9.3).
import { until } from './checks.mjs'

export class Ledger {
  #heard
  #accounts = new Map()

  constructor(heard) {
    this.#heard = heard
  }

  /** Notes what comes next for an account, in the words of `RawConsumer`. */
  expect(account, ...words) {
    this.#entry(account).words.push(...words)
  }

  /** Notes what comes next and waits until exactly that has come. */
  async settles(account, ...words) {
    this.expect(account, ...words)
    await until(() => this.#difference(account.did), () => !this.#difference(account.did))
  }

  /** Notes what a host says next and the relay must not pass on. */
  refuses(account, ...words) {
    this.#entry(account).refused.push(...words)
  }

  /** What must not have passed, by DID. */
  refused() {
    return [...this.#accounts].map(([did, { name, refused }]) => ({ did, name, refused }))
  }

  #entry({ did, name }) {
    const entry = this.#accounts.get(did) ?? { name, words: [], refused: [] }
    this.#accounts.set(did, entry)
    return entry
  }

  /** Differences of all accounts, in words; of accounts that nobody expected too. */
  differences() {
    const dids = new Set([...this.#accounts.keys(), ...this.#heard.events.map(({ did }) => did)])
    return [...dids].map((did) => this.#difference(did)).filter(Boolean)
  }

  #difference(did) {
    const { name, words } = this.#accounts.get(did) ?? { name: did, words: [] }
    const found = this.#heard.of(did).map((event) => event.words)
    const length = Math.max(found.length, words.length)
    for (let at = 0; at < length; at += 1) {
      if (found[at] !== words[at]) return differs(name, at, found, words[at] ?? 'nothing more')
    }
    return undefined
  }
}

function differs(name, at, found, expected) {
  const before = found.slice(Math.max(0, at - 3), at).join(', ')
  const from = found.slice(at, at + 4).join(', ') || 'nothing'
  return `event ${at + 1} of ${name}: expected ${expected}, found ${from} (after ${before})`
}
