// The dashboard in a real Chromium against a real agent. tests/tests/dashboard.rs makes the host ready and says in
// DASHBOARD_TEST where it is: {"url", "shots", "admin", "read", "many"}.
import { existsSync, writeFileSync } from 'node:fs'
import { accessible, assert, close, figures, finish, open, setup, shot, step, until, visit } from './harness.mjs'
import { measure } from './bars.mjs'

const SAY = 'dbsay:prod'
// Another one in each run on a host.
const mark = Date.now().toString(36)
const say = (text) => visit(SAY, `/say?${encodeURIComponent(text)}`)
/** Has the agent restarted: the test that started this sees the file, does it and removes the file. */
async function restart() {
  const asked = `${setup.shots}/restart`
  writeFileSync(asked, '')
  await until('the agent was restarted', () => !existsSync(asked), 60_000)
}
/** A change with the token itself, as another operator makes it. */
async function act(page, path) {
  const answer = await page.context().request.post(setup.url + path, { headers: { authorization: `Bearer ${setup.admin}` } })
  assert(answer.ok(), `${path}: ${answer.status()} ${await answer.text()}`)
}
const page_of = (name) => `/instances/${encodeURIComponent(name)}`

await step('a wrong token is refused in words, and a good one logs in and is forgotten at logout', async () => {
  const page = await open({ token: null })
  await page.getByLabel('Token').fill('ten_nosuch_token')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('alert').waitFor()
  await shot(page, 'login-refused')
  await page.getByLabel('Token').fill(setup.admin)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
  const kept = await page.evaluate(() => JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie)
  assert(!kept.includes('ten_'), `the page keeps the token: ${kept}`)
  await page.getByRole('button', { name: 'Log out' }).first().click()
  await page.getByLabel('Token').waitFor()
  await close(page)
})

await step('the overview shows what runs, the host and what happened, without a word on the console', async () => {
  const page = await open({ token: setup.admin })
  await page.locator('[data-tile=Running]').filter({ hasText: /[1-9]/ }).waitFor()
  await page.getByText('What happened').waitFor()
  await page.locator('main li').first().waitFor()
  await page.locator('[data-tile=Problems]').filter({ hasText: /[1-9]/ }).waitFor()
  await page.getByRole('link', { name: 'dbbad:one' }).first().waitFor()
  await page.locator('[role=status]:visible').filter({ hasText: 'Live' }).waitFor()
  await shot(page, 'overview')
  await close(page)
})

await step('the list shows the running instance, and search, filters and order work', async () => {
  const page = await open({ token: setup.admin, path: '/instances' })
  const row = page.getByRole('row').filter({ hasText: SAY })
  await page.getByPlaceholder('Search by name').fill('DBSAY prod')
  await row.getByText('Running').waitFor()
  assert(page.url().includes('text='), 'the address has the search')
  await page.getByPlaceholder('Search by name').fill('')
  await page.getByRole('button', { name: /^Problems/ }).click()
  await page.getByRole('row').filter({ hasText: 'dbbad:one' }).getByText('Failed').waitFor()
  assert((await row.count()) === 0, 'a healthy one is no problem')
  await page.getByRole('button', { name: /^All/ }).click()
  // Other tests may have left instances of theirs.
  await page.getByPlaceholder('Search by name').fill('db')
  await page.getByRole('button', { name: 'Name' }).click()
  await until('the last name is the first row', async () => (await page.locator('[data-at="0"]').textContent())?.startsWith('dbsay'))
  await page.getByPlaceholder('Search by name').fill('zzz-nothing')
  await page.getByText('Nothing matches').waitFor()
  await page.getByPlaceholder('Search by name').fill('db')
  await page.locator('[data-at="0"]').focus()
  await page.keyboard.press('ArrowDown')
  await until('the arrow goes to the next row', () => page.evaluate(() => document.activeElement?.dataset.at === '1'))
  await shot(page, 'instances')
  await close(page)
})

await step('stop asks first, then stops; wake wakes; the page changes by itself when somebody else does it', async () => {
  const page = await open({ token: setup.admin, path: page_of(SAY) })
  await page.getByRole('button', { name: 'Stop', exact: true }).click()
  await page.getByRole('dialog').getByText('The next request wakes it again').waitFor()
  await shot(page, 'confirm')
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'hidden' })
  assert(await page.getByText('Running', { exact: true }).first().isVisible(), 'nothing was stopped')
  await page.getByRole('button', { name: 'Stop', exact: true }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Stop' }).click()
  await page.getByText('Asleep', { exact: true }).first().waitFor()
  await page.getByRole('button', { name: 'Wake' }).click()
  await page.getByText('Running', { exact: true }).first().waitFor()
  await page.getByRole('button', { name: 'Stop', exact: true }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Stop' }).click()
  await page.getByText('Asleep', { exact: true }).first().waitFor()
  // A visitor wakes it, and nobody touches the page.
  assert((await visit(SAY, '/')) === 200, 'the visitor is served')
  await page.getByText('Running', { exact: true }).first().waitFor()
  await page.getByText('→ running').first().waitFor()
  await page.getByRole('heading', { name: 'Log' }).scrollIntoViewIfNeeded()
  await shot(page, 'instance-below')
  await page.locator('#main').evaluate((main) => main.scrollTo(0, 0))
  await shot(page, 'instance')
  await close(page)
})

await step('new lines stream into the log, and a query finds what it should', async () => {
  const page = await open({ token: setup.admin, path: `/logs?of=${encodeURIComponent(SAY)}` })
  await page.locator('[role=status]:visible').filter({ hasText: 'Live' }).waitFor()
  await page.locator('[data-lines]').waitFor()
  for (const word of [`first-${mark}`, `second-${mark}`, 'ERROR it broke']) await say(word)
  await page.locator('[data-lines]').getByText(`second-${mark}`).waitFor()
  await shot(page, 'logs')
  const query = page.getByRole('searchbox', { name: 'Query' })
  await query.fill(`"first ${mark}" OR nosuchword`)
  await page.keyboard.press('Enter')
  await until('only what matches', async () => {
    const lines = page.locator('[data-lines] [data-seq]')
    return (await lines.count()) === 1 && (await lines.textContent()).includes(`first-${mark}`)
  })
  await page.locator('[data-lines] [data-seq] a').first().click()
  await page.locator('[data-lines] .bg-accent-soft').getByText(`first-${mark}`).waitFor()
  assert(/line=\d+/.test(page.url()), 'the address names the line')
  await query.fill('(unclosed')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').waitFor()
  await shot(page, 'logs-wrong-query')
  await close(page)
})

await step('what an app prints and what an address says is text, and never runs', async () => {
  const attacks = ['<img src=x onerror="document.title=`owned`">', '<script>document.title="owned"</script>', '"><svg onload=alert(1)>', '\u001b[31mred\u001b[0m \u202eturned', '{@html x} {{7*7}} ${7*7}']
  for (const attack of attacks) await say(attack)
  const page = await open({ token: setup.admin, path: `/logs?of=${encodeURIComponent(SAY)}` })
  const lines = page.locator('[data-lines]')
  for (const attack of attacks.slice(0, 3)) await lines.getByText(attack).first().waitFor()
  await lines.getByText('red \\u{202e}turned').first().waitFor()
  await lines.getByText('{@html x} {{7*7}} ${7*7}').first().waitFor()
  assert((await lines.locator('img, script, svg').count()) === 0, 'a line became markup')
  await shot(page, 'injection')
  for (const path of [page_of('<img src=x onerror=alert(1)>'), '/instances?text=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E', '/logs?q=%3Cscript%3Ealert(1)%3C/script%3E', '/%3Cscript%3Ealert(1)%3C/script%3E']) {
    await page.goto(setup.url + path)
    await page.locator('h1').first().waitFor({ state: 'attached' })
    assert((await page.locator('main img, main script').count()) === 0, `${path} became markup`)
  }
  assert(!(await page.title()).includes('owned'), 'it ran')
  await close(page)
})

await step('events, tokens and settings show what the agent says', async () => {
  const page = await open({ token: setup.admin, path: '/events' })
  await page.getByText('dbsay:prod').first().waitFor()
  await shot(page, 'events')
  await page.getByRole('link', { name: 'Tokens' }).first().click()
  await page.getByText('this is you').waitFor()
  await page.getByRole('button', { name: 'New token' }).click()
  await page.getByLabel('Name').fill('made-by-browser')
  await page.getByRole('button', { name: 'Make it' }).click()
  await page.getByRole('dialog').getByText(/^ten_/).waitFor()
  await page.getByRole('button', { name: 'I have kept it' }).click()
  const made = page.getByRole('listitem').filter({ hasText: 'made-by-browser' })
  await shot(page, 'tokens')
  await made.getByRole('button', { name: 'Revoke' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
  await made.waitFor({ state: 'detached' })
  await page.getByRole('link', { name: 'Settings' }).first().click()
  await page.getByText('python3 /srv/apps/dbsay.py').waitFor()
  await page.getByRole('button', { name: 'Check the files' }).click()
  await page.getByText('The files on disk are good').waitFor()
  await shot(page, 'settings')
  await close(page)
})

await step('a token that may only read sees no button that changes anything', async () => {
  const page = await open({ token: setup.read, path: page_of(SAY) })
  await page.getByText('Running', { exact: true }).first().waitFor()
  for (const path of [null, '/', '/instances', '/logs', '/events', '/settings']) {
    if (path) await page.goto(setup.url + path)
    await page.locator('h1').first().waitFor({ state: 'attached' })
    await page.locator('[role=status]:visible').filter({ hasText: 'Live' }).waitFor()
    const buttons = await page.getByRole('button', { name: /^(wake|sleep|stop|restart|reset|delete|new|reload|check|rotate|revoke|send)/i }).allTextContents()
    assert(buttons.length === 0, `${path}: ${buttons}`)
  }
  assert((await page.getByRole('link', { name: 'Tokens' }).count()) === 0, 'tokens are not for it')
  await close(page)
})

await step('a session that ends elsewhere leads back to the login', async () => {
  const page = await open({ token: setup.read, path: '/instances' })
  await page.locator('[data-at="0"]').waitFor()
  await page.context().clearCookies()
  await page.getByRole('link', { name: 'Events' }).first().click()
  await page.getByText('Your session has ended').waitFor()
  await close(page)
})

await step('a list whose stream is refused says why, and heals by itself', async () => {
  const page = await open({ token: setup.read, path: null })
  const problem = { title: 'Too Many Requests', status: 429, code: 'too_many', detail: 'Too many lists are open.', hint: 'Close one.' }
  let refused = 0
  await page.route('**/api/v1/instances/stream', (route) => {
    refused++
    return route.fulfill({ status: 429, contentType: 'application/problem+json', body: JSON.stringify(problem) })
  })
  await page.goto(`${setup.url}/instances`)
  await page.getByRole('alert').getByText(problem.detail).waitFor()
  await page.getByText('It is tried again by itself').waitFor()
  await shot(page, 'stream-refused')
  await page.goto(`${setup.url}/`)
  await page.getByRole('alert').getByText(problem.detail).waitFor()
  await page.goto(`${setup.url}/instances`)
  await page.getByRole('alert').waitFor()
  await page.unroute('**/api/v1/instances/stream')
  await page.locator('[data-at="0"]').waitFor()
  await page.getByRole('alert').waitFor({ state: 'detached' })
  assert(refused >= 4, 'each page has tried')
  await close(page)
})

await step('a page that is open while the agent restarts is live again by itself', async () => {
  const page = await open({ token: setup.admin, path: '/instances' })
  await page.locator('[data-at="0"]').waitFor()
  await page.locator('[role=status]:visible').filter({ hasText: 'Live' }).waitFor()
  await restart()
  // Its session outlives the agent as well.
  await page.locator('[data-at="0"]').waitFor()
  await page.locator('[role=status]:visible').filter({ hasText: 'Live' }).waitFor()
  await page.getByPlaceholder('Search by name').fill(SAY)
  const row = page.getByRole('row').filter({ hasText: SAY })
  await row.getByText('Running').waitFor()
  await act(page, `/api/v1/instances/${SAY}/stop`)
  await row.getByText('Asleep').waitFor()
  assert((await visit(SAY, '/')) === 200, 'the visitor is served')
  await row.getByText('Running').waitFor()
  await close(page)
})

await step('everything fits a phone: nothing is wider than 390 pixels', async () => {
  for (const dark of [false, true]) {
    const page = await open({ token: setup.admin, phone: true, dark })
    for (const [path, name] of [['/', 'overview'], ['/instances', 'instances'], [page_of(SAY), 'instance'], ['/logs', 'logs'], ['/events', 'events'], ['/tokens', 'tokens'], ['/settings', 'settings']]) {
      await page.goto(setup.url + path)
      await page.locator('main li, main [data-at], main [data-seq], main dd').first().waitFor()
      const wide = await page.evaluate(() => [document.documentElement, document.getElementById('main')].map((node) => node.scrollWidth - node.clientWidth))
      await shot(page, `phone-${name}${dark ? '-dark' : ''}`)
      assert(wide.every((more) => more <= 0), `${name} is ${wide} pixels too wide`)
    }
    await close(page)
  }
})

await step('axe finds nothing serious on any page, light and dark', async () => {
  const wrong = []
  for (const dark of [false, true]) {
    const page = await open({ token: null, dark })
    await page.getByLabel('Token').waitFor()
    await accessible(page, 'login').catch((error) => wrong.push(error.message))
    await shot(page, `login${dark ? '-dark' : ''}`)
    await close(page)
    const inside = await open({ token: setup.admin, dark })
    for (const path of ['/', '/instances', page_of(SAY), page_of('dbbad:one'), '/logs', '/events', '/tokens', '/settings', '/nothing']) {
      await inside.goto(setup.url + path)
      await inside.locator('main li, main [data-at], main [data-seq], main dd, main p').first().waitFor()
      await inside.getByText('Loading').waitFor({ state: 'detached' }).catch(() => {})
      await accessible(inside, `${path} ${dark ? 'dark' : 'light'}`).catch((error) => wrong.push(error.message))
      if (dark) await shot(inside, `dark${path.replace(/[^a-z]+/gi, '-')}`)
    }
    await close(inside)
  }
  assert(wrong.length === 0, wrong.join('\n'))
})

await measure()
console.log(JSON.stringify(figures, null, 1))
await finish()
