// Conditions are waited for, never times; every check is one line of the report.

/** Generous, because a loaded machine is slow and a wait that succeeds costs nothing. */
const WAIT_SECONDS = 90
const SHOWN_CHARS_MAX = 1500

/** Waits until `condition` holds and gives what it gave; throws with `what` when it never does. */
export async function until(what, condition, seconds = WAIT_SECONDS) {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) {
      throw new Error(`waited ${seconds} s for: ${typeof what === 'function' ? what() : what}`)
    }
    await new Promise((done) => setTimeout(done, 20))
  }
}

/** Throws unless both are the same as JSON. */
export function equal(found, expected, about = '') {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)]
  if (a !== b) throw new Error(`${about}\nfound    ${short(a)}\nexpected ${short(b)}`)
}

/** Throws unless `list` is empty; shows the first ones. */
export const none = (list, about) => {
  if (list.length > 0) throw new Error(`${list.length} ${about}: ${short(JSON.stringify(list))}`)
}

const short = (text) => (text?.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)} …` : text)

/** What held and what did not. */
export class Report {
  #expected
  #passed = 0
  #failed = 0

  constructor(expected) {
    this.#expected = expected
  }

  /** Runs one check and prints its line; whether it held. */
  async check(what, body) {
    const began = Date.now()
    const seconds = () => `${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s`
    try {
      await body()
      this.#passed += 1
      console.log(`  ok   ${seconds()}  ${what}`)
      return true
    } catch (error) {
      this.#failed += 1
      console.log(`  FAIL ${seconds()}  ${what}\n        ${error.message.replaceAll('\n', '\n        ')}`)
      return false
    }
  }

  /** Prints the closing line; true when every expected check held. */
  summary() {
    const missing = this.#expected - this.#passed - this.#failed
    if (missing !== 0) console.log(`  ${this.#expected} checks were expected, ${missing} of them did not run`)
    console.log(`real peers: ${this.#passed} passed, ${this.#failed} failed`)
    return this.#failed === 0 && missing === 0
  }
}
