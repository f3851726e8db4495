// How fast it is: the first live data of a list of 1,000, and the frames while 10,000 scroll.
import { assert, close, figures, open, setup, step, until } from './harness.mjs'

const LOADS = 5
const ROWS = 10_000

// When the first rows were on the screen, in milliseconds since the navigation began.
const WATCH = () => {
  const look = () => {
    if (document.querySelector('[data-list] [data-at]')) requestAnimationFrame(() => setTimeout(() => (globalThis.painted ??= performance.now())))
    else requestAnimationFrame(look)
  }
  look()
}

// Tasks over 50 ms, painting included, by the clock on the wall.
const TASKS = () => {
  globalThis.tasks_seen = []
  new PerformanceObserver((list) => globalThis.tasks_seen.push(...list.getEntries().map((one) => one.duration))).observe({ type: 'longtask' })
}

/** The most script between two frames, in milliseconds of processor time: what others do on the machine is not counted. */
async function busiest(page, steps) {
  const meter = await page.context().newCDPSession(page)
  await meter.send('Performance.enable', { timeDomain: 'threadTicks' })
  const script = async () => {
    const { metrics } = await meter.send('Performance.getMetrics')
    return metrics.find((metric) => metric.name === 'ScriptDuration').value * 1000
  }
  let [most, drawn, before] = [0, 0, await script()]
  for (let n = 0; n <= steps; n++) {
    const rows = await page.evaluate(async (part) => {
      const list = document.querySelector('[data-list]')
      list.scrollTop = (list.scrollHeight - list.clientHeight) * part
      // The first frame tells the page that it was scrolled, and has drawn the rows when the second begins.
      for (let n = 0; n < 2; n++) await new Promise((done) => requestAnimationFrame(done))
      return document.querySelectorAll('[data-at]').length
    }, n / steps)
    const after = await script()
    most = Math.max(most, after - before)
    drawn = Math.max(drawn, rows)
    before = after
  }
  return { most, drawn }
}

function rows() {
  const states = [['running', 'running'], ['asleep', 'frozen'], ['asleep', 'stopped'], ['asleep', 'dormant'], ['failed', 'stopped']]
  return Array.from({ length: ROWS }, (_, n) => {
    const [state, tier] = states[n % states.length]
    return { name: `shop:tenant-${String(n).padStart(5, '0')}`, state, tier, since_ms: Date.now() - n * 1000, in_flight: n % 7, wakes: n % 50, last_used_ms: Date.now() - n * 500 }
  })
}

export async function measure() {
  await step(`the first live data of ${setup.many} instances is there within a second`, async () => {
    const times = []
    for (let n = 0; n < LOADS; n++) {
      // A browser that has never seen it: nothing is cached.
      const page = await open({ token: setup.read, path: '/instances', script: WATCH })
      times.push(await until('the first rows', () => page.evaluate(() => globalThis.painted)))
      const total = Number((await page.locator('[role=table]').getAttribute('aria-rowcount')) ?? 0)
      await until('all rows', async () => Number(await page.locator('[role=table]').getAttribute('aria-rowcount')) > setup.many, 10_000)
      assert(total > 1, 'the table says how many rows it has')
      await close(page)
    }
    times.sort((a, b) => a - b)
    figures['dashboard.first_data_ms'] = times[Math.floor(LOADS / 2)]
  })

  await step(`a list of ${ROWS} scrolls without a frame of 50 ms of script`, async () => {
    const page = await open({ token: setup.read, path: null, script: TASKS })
    // The agent of the test has fewer; the stream is answered as it would be with so many.
    const all = rows()
    const events = Array.from({ length: 10 }, (_, n) => ({ fresh: n === 0, more: n < 9, gone: [], rows: all.slice(n * 1000, n * 1000 + 1000) }))
    const body = `retry: 60000\n\n${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}`
    await page.route('**/api/v1/instances/stream', (route) => route.fulfill({ contentType: 'text/event-stream', body }))
    await page.goto(`${setup.url}/instances`)
    await until('all rows', async () => (await page.locator('[role=table]').getAttribute('aria-rowcount')) === String(ROWS + 1))
    await page.evaluate(() => (globalThis.tasks_seen.length = 0))
    const { most, drawn } = await busiest(page, 200)
    const last = await page.locator('[data-at="9999"]').textContent()
    assert(last === 'shop:tenant-09999', `the last row is in sight: ${last}`)
    assert(drawn > 10 && drawn < 80, `${drawn} rows were in the page`)
    figures['dashboard.scroll.script_ms'] = most
    figures['dashboard.scroll.longest_task_ms'] = await page.evaluate(() => Math.max(0, ...globalThis.tasks_seen))
    const { said } = page
    await page.context().close()
    assert(said.length === 0, said.join('\n'))
  })
}
