// Pictures of every view at the width of a desk and of a hand, by day and by night.
import assert from 'node:assert/strict'
import path from 'node:path'
import { check, launch, login, open, scene, views } from './browser.mjs'

const sizes = [
  [1280, 720],
  [390, 844],
]

const faults = []
const browser = await launch()
try {
  for (const colorScheme of ['light', 'dark']) {
    for (const [width, height] of sizes) {
      const page = await open(browser, { colorScheme, width, height })
      const keep = async (name) => {
        const file = `${name}-${width}-${colorScheme}.png`
        await page.screenshot({ path: path.join(scene.pictures, file) })
        await check(page, file).catch((error) => faults.push(error.message))
      }
      await page.goto(`${scene.dash}/dash/login`)
      await keep('login')
      await login(page)
      for (const [name, path] of views()) {
        await page.goto(scene.dash + path)
        if (await page.locator('[data-live]').count()) await page.locator('#live .pill.ok').waitFor()
        await keep(name)
      }
      await page.goto(`${scene.status}/status`)
      await keep('status')
      await page.context().close()
    }
  }
} finally {
  await browser.close()
}
assert.deepEqual(faults, [])
