// A day of an operator: from the login to the audit log.
import assert from 'node:assert/strict'
import { check, launch, login, open, scene, views } from './browser.mjs'

const text = (page) => page.locator('main').innerText()

async function reads(page) {
  await page.getByRole('link', { name: 'Hosts', exact: true }).first().click()
  await page.getByRole('searchbox', { name: 'Name' }).fill(scene.badHost.slice(-4))
  await page.getByRole('button', { name: 'Show' }).click()
  await page.getByRole('link', { name: scene.badHost }).click()
  await page.getByRole('heading', { name: scene.badHost }).waitFor()
  assert.match(await text(page), /The signature does not verify/)
  await page.getByRole('link', { name: scene.badDid }).first().click()
  await page.getByRole('heading', { name: 'Why is it not on the network?' }).waitFor()
  assert.match(await text(page), /Its last dropped event came .* The signature does not verify/)
}

/** Takes the account down, sees that it holds and that it stands in the log, and restores it. */
async function moderates(page) {
  await page.goto(`${scene.dash}/dash/account?q=${encodeURIComponent(scene.badDid)}`)
  await page.getByText('Take down…').click()
  await page.getByLabel('Why (for the audit log)').first().fill('spam in every post')
  await page.getByRole('button', { name: 'Take down' }).click()
  await page.getByRole('status').getByText('The account was taken down').waitFor()
  assert.match(await text(page), /It was taken down on this relay/)
  await page.getByRole('link', { name: 'Audit log' }).click()
  await page.getByRole('heading', { name: 'Audit log' }).waitFor()
  assert.match(await text(page), /account\.takeDown[^]*spam in every post/)
  await page.getByRole('link', { name: 'Moderation' }).click()
  await page.getByRole('row', { name: scene.badDid }).getByRole('button', { name: 'Restore' }).click()
  await page.getByRole('status').getByText('is ended').waitFor()
}

/** Raises a limit of the host, and sees who did it. */
async function limits(page) {
  await page.goto(`${scene.dash}/dash/host?name=${encodeURIComponent(scene.badHost)}`)
  await page.getByLabel('Accounts', { exact: true }).fill('5,000')
  await page.locator('#limits-note').fill('it grew')
  await page.getByRole('button', { name: 'Set limits' }).click()
  await page.getByRole('status').getByText('The limits are set').waitFor()
  assert.equal(await page.getByLabel('Accounts', { exact: true }).inputValue(), '5000')
  assert.match(await text(page), /limits[^]*it grew[^]*admin:admin/)
}

/** Bans a domain, sees that a host of it is refused, and ends the ban. */
async function bans(page) {
  await page.getByRole('link', { name: 'Moderation' }).click()
  await page.getByLabel('Domain').fill('spam.example.com')
  await page.locator('#domain-note').fill('nothing but spam')
  await page.getByRole('button', { name: 'Ban domain' }).click()
  await page.getByRole('status').getByText('The domain is banned').waitFor()
  await page.getByRole('link', { name: 'Hosts', exact: true }).first().click()
  await page.getByText('Add a host').click()
  await page.getByLabel('Host name').fill('pds.spam.example.com')
  await page.getByRole('button', { name: 'Add', exact: true }).click()
  await page.getByRole('alert').getByText('banned').waitFor()
  await page.getByRole('link', { name: 'Audit log' }).click()
  assert.match(await text(page), /domain\.ban[^]*spam\.example\.com/)
  await page.getByRole('link', { name: 'Moderation' }).click()
  await page.getByRole('row', { name: 'spam.example.com' }).getByRole('button', { name: 'Unban' }).click()
  await page.getByRole('status').getByText('The ban of the domain is ended').waitFor()
}

/** Finds a collection by its name, and what one account has. */
async function collects(page) {
  await page.getByRole('link', { name: 'Collections', exact: true }).first().click()
  await page.getByRole('searchbox', { name: 'Name begins with' }).fill('app.bsky.feed')
  await page.getByRole('searchbox', { name: 'Account (DID)' }).fill(scene.goodDid)
  await page.getByRole('button', { name: 'Show' }).click()
  await page.getByRole('heading', { name: scene.goodDid }).waitFor()
  await page.getByRole('row', { name: /app\.bsky\.feed\.post.*proven/ }).waitFor()
  assert.match(await text(page), /Collections with the most accounts[^]*app\.bsky\.feed\.post/)
  await page.getByRole('button', { name: 'Ask the hosts of all uncertain accounts' }).click()
  await page.getByRole('status').getByText('are asked now').waitFor()
}

/** Adds a host that the relay did not know, and sees it connected. */
async function adds(page) {
  await page.getByRole('link', { name: 'Hosts', exact: true }).first().click()
  await page.getByText('Add a host').click()
  await page.getByLabel('Host name').fill(scene.newHost)
  await page.getByRole('button', { name: 'Add', exact: true }).click()
  await page.getByRole('heading', { name: scene.newHost }).waitFor()
  await page.getByText('is read: connected').waitFor()
}

/** Numbers of an open page change by themselves, and stand still when a person wants that. */
async function lives(page) {
  await page.goto(`${scene.dash}/dash`)
  await page.locator('#live .pill.ok').waitFor()
  const region = page.locator('[data-live]')
  const before = await region.innerHTML()
  await page.waitForFunction(
    (before) => document.querySelector('[data-live]').innerHTML !== before,
    before,
  )
  await page.getByRole('button', { name: 'Pause' }).click()
  await page.locator('#live .pill', { hasText: 'paused' }).waitFor()
}

/** The same without JavaScript. */
async function plain(browser) {
  const page = await open(browser, { javaScriptEnabled: false })
  await login(page)
  await reads(page)
  await page.context().close()
}

/** By the keyboard alone: the way past the navigation, and through it. */
async function keyboard(page) {
  await page.goto(`${scene.dash}/dash`)
  await page.keyboard.press('Tab')
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'To the content')
  await page.keyboard.press('Enter')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main')
}

const browser = await launch()
try {
  await plain(browser)
  const page = await open(browser)
  await login(page)
  await reads(page)
  await limits(page)
  await bans(page)
  await moderates(page)
  await adds(page)
  await collects(page)
  await lives(page)
  await keyboard(page)
  for (const colorScheme of ['light', 'dark']) {
    const page = await open(browser, { colorScheme, width: colorScheme === 'light' ? 1280 : 390 })
    await page.goto(`${scene.dash}/dash/login`)
    await check(page, `login, ${colorScheme}`)
    await login(page)
    for (const [name, path] of views()) {
      await page.goto(scene.dash + path)
      await check(page, `${name}, ${colorScheme}`)
    }
    await page.goto(`${scene.status}/status`)
    await check(page, `status, ${colorScheme}`)
    await page.context().close()
  }
} finally {
  await browser.close()
}
console.log('browser: everything was found, read and done')
