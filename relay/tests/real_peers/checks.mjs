// Conditions are waited for, never times; every check is one line of the report.

const results = []

/** Waits until `condition` holds; throws with `what` when it does not within `seconds`. */
export async function until(what, condition, seconds = 30) {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s for: ${what}`)
    await new Promise((done) => setTimeout(done, 50))
  }
}

/** Runs one check and notes whether it held. */
export async function check(what, body) {
  try {
    await body()
    results.push(true)
    console.log(`  ok    ${what}`)
  } catch (error) {
    results.push(false)
    console.log(`  FAIL  ${what}\n        ${error.message.replaceAll('\n', '\n        ')}`)
  }
}

export function equal(found, expected, about = '') {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)]
  if (a !== b) throw new Error(`${about}\nfound    ${a}\nexpected ${b}`)
}

/** Prints the closing line; true when all held. */
export function summary() {
  const failed = results.filter((held) => !held).length
  console.log(`real peers: ${results.length - failed} passed, ${failed} failed`)
  return failed === 0
}
