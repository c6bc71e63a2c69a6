// Chromium, a login, and what is looked at on every page.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import path from 'node:path'

const named = (name) => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set; run \`just stage build,browser\``)
  return value
}

export const scene = JSON.parse(named('BROWSER_SCENE'))
const require = createRequire(path.join(named('BROWSER_MODULES'), 'from-here.js'))
const { chromium } = require('playwright-core')
const axe = require('axe-core').source

/** Longest that a page may take; a busy machine has other things to do. */
const PATIENCE_MS = 20_000

/** Chromium of the machine. It runs as root in containers, where its sandbox cannot. */
export const launch = () =>
  chromium.launch({
    executablePath: named('CHROMIUM_BINARY'),
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--force-color-profile=srgb'],
  })

/** A window; whatever the browser complains about lies in `complaints`. */
export async function open(browser, { colorScheme = 'light', width = 1280, height = 900, ...more } = {}) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height }, ...more })
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  page.complaints = []
  page.on('console', (message) => {
    // A browser says of a page without a login, and of a form that was refused, that they are errors.
    const known = /status of (400|401|403|404|409)/.test(message.text())
    if (message.type() === 'error' && !known) page.complaints.push(message.text())
  })
  page.on('pageerror', (error) => page.complaints.push(String(error)))
  return page
}

export async function login(page) {
  await page.goto(`${scene.dash}/dash`)
  await page.getByLabel('Admin password').fill(scene.password)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('heading', { name: 'Overview' }).waitFor({ state: 'attached' })
}

/** No serious finding of axe-core, nothing that the browser complained about, no sideways scrolling. */
export async function check(page, what) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document))
  const serious = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(' ')}`)
  assert.deepEqual(serious, [], `${what}: not everyone can use it`)
  assert.deepEqual(page.complaints, [], `${what}: the browser complains`)
  const { scrollWidth, clientWidth } = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement
    return { scrollWidth, clientWidth }
  })
  assert.ok(scrollWidth <= clientWidth, `${what}: ${scrollWidth} px of content on ${clientWidth} px`)
}

/** All views, with a name for each. */
export const views = () => [
  ['overview', '/dash'],
  ['hosts', '/dash/hosts'],
  ['host', `/dash/host?name=${encodeURIComponent(scene.badHost)}`],
  ['account', `/dash/account?q=${encodeURIComponent(scene.badDid)}`],
  ['collections', `/dash/collections?did=${encodeURIComponent(scene.goodDid)}`],
  ['consumers', '/dash/consumers'],
  ['moderation', '/dash/moderation'],
  ['audit', '/dash/audit'],
  ['settings', '/dash/settings'],
]
