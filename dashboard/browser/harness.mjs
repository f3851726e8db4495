// A browser, pages that tell every error, and steps with names. Chromium is Debian's; nothing is downloaded.
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import http from 'node:http'
import { chromium } from 'playwright-core'

export const setup = JSON.parse(process.env.DASHBOARD_TEST ?? '{}')
export const figures = {}
const failed = []
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
mkdirSync(setup.shots, { recursive: true })

export const browser = await chromium.launch({
  executablePath: ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync),
  // Run by root in a namespace of its own, where Chromium's own sandbox can't be made.
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
})

/** Runs a step; what fails is said, and the others run all the same. */
export async function step(name, work) {
  const begun = Date.now()
  try {
    await work()
    console.log(`ok   ${name} (${Date.now() - begun} ms)`)
  } catch (error) {
    failed.push(name)
    console.log(`FAIL ${name}\n${error.stack ?? error}`)
  }
}

export function assert(truth, message) {
  if (!truth) throw new Error(message)
}

/** A page, logged in with `token` unless that is null. What it says on its console or throws is collected. */
export async function open({ token, path = '/', phone = false, dark = false, script } = {}) {
  const context = await browser.newContext({
    viewport: phone ? { width: 390, height: 844 } : { width: 1360, height: 850 },
    hasTouch: phone,
    isMobile: phone,
    colorScheme: dark ? 'dark' : 'light',
    reducedMotion: 'reduce',
  })
  if (script) await context.addInitScript(script)
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  page.said = []
  page.on('console', (message) => {
    // The browser notes each answer that is no success; which ones may come is the step's business.
    if (['error', 'warning'].includes(message.type()) && !/Failed to load resource/.test(message.text())) page.said.push(message.text())
  })
  page.on('pageerror', (error) => page.said.push(String(error)))
  page.on('dialog', (dialog) => {
    page.said.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  if (token) {
    const answer = await context.request.post(`${setup.url}/api/v1/session`, { data: { token }, headers: { origin: setup.url } })
    assert(answer.ok(), `login: ${answer.status()} ${await answer.text()}`)
    await context.addInitScript(() => localStorage.setItem('logged-in', '1'))
  }
  if (path) await page.goto(setup.url + path)
  return page
}

/** Ends a page, which must have said nothing. */
export async function close(page) {
  const said = page.said
  await page.context().close()
  assert(said.length === 0, `the console is not silent: ${said.join('\n')}`)
}

export const shot = (page, name) => page.screenshot({ path: `${setup.shots}/${name}.png` })

/** No serious or critical violation of axe's rules. It is put in by the protocol, which no policy of the page stops. */
export async function accessible(page, where) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
  const bad = violations.filter((one) => ['serious', 'critical'].includes(one.impact))
  const said = bad.map((one) => `${one.id}: ${one.help}\n${one.nodes.slice(0, 4).map((node) => `    ${node.html}\n    ${node.failureSummary}`).join('\n')}`)
  assert(bad.length === 0, `${where}: ${said.join('\n')}`)
}

/** A request to an instance, as its visitors send it. */
export function visit(instance, path) {
  const [process, id] = instance.split(':')
  return new Promise((resolve, reject) => {
    const request = http.get(`${setup.url}${path}`, { headers: { host: `${id}.${process}.localhost:8080` } }, (answer) => {
      answer.resume()
      answer.on('end', () => resolve(answer.statusCode))
    })
    request.on('error', reject)
  })
}

/** Waits until `look` gives something true. */
export async function until(what, look, bound = 20_000) {
  const end = Date.now() + bound
  let last
  while (Date.now() < end) {
    last = await look()
    if (last) return last
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`${what}: not within ${bound} ms`)
}

export async function finish() {
  await browser.close()
  console.log(`FIGURES ${JSON.stringify(figures)}`)
  if (failed.length) console.log(`${failed.length} steps failed: ${failed.join('; ')}`)
  process.exit(failed.length ? 1 : 0)
}
