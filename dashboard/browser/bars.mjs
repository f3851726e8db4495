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

// The longest time that scripts took in one frame, and tasks over 50 ms.
const FRAMES = () => {
  globalThis.frames_seen = { script: 0, tasks: [] }
  new PerformanceObserver((list) => {
    for (const frame of list.getEntries()) {
      const script = frame.scripts.reduce((sum, one) => sum + one.duration, 0)
      globalThis.frames_seen.script = Math.max(globalThis.frames_seen.script, script)
    }
  }).observe({ type: 'long-animation-frame' })
  new PerformanceObserver((list) => globalThis.frames_seen.tasks.push(...list.getEntries().map((one) => one.duration))).observe({ type: 'longtask' })
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
    const page = await open({ token: setup.read, path: null, script: FRAMES })
    // The agent of the test has fewer; the stream is answered as it would be with so many.
    const all = rows()
    const events = Array.from({ length: 10 }, (_, n) => ({ fresh: n === 0, more: n < 9, gone: [], rows: all.slice(n * 1000, n * 1000 + 1000) }))
    const body = `retry: 60000\n\n${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}`
    await page.route('**/api/v1/instances/stream', (route) => route.fulfill({ contentType: 'text/event-stream', body }))
    await page.goto(`${setup.url}/instances`)
    await until('all rows', async () => (await page.locator('[role=table]').getAttribute('aria-rowcount')) === String(ROWS + 1))
    const drawn = await page.evaluate(async () => {
      const frame = () => new Promise((done) => requestAnimationFrame(done))
      for (let n = 0; n < 30; n++) await frame()
      globalThis.frames_seen.script = 0
      globalThis.frames_seen.tasks.length = 0
      const list = document.querySelector('[data-list]')
      let most = 0
      for (let n = 0; n <= 300; n++) {
        list.scrollTop = ((list.scrollHeight - list.clientHeight) * n) / 300
        await frame()
        most = Math.max(most, document.querySelectorAll('[data-at]').length)
      }
      return { most, last: document.querySelector('[data-at="9999"]')?.textContent }
    })
    assert(drawn.last === 'shop:tenant-09999', `the last row is in sight: ${drawn.last}`)
    assert(drawn.most < 80, `${drawn.most} rows were in the page`)
    const seen = await page.evaluate(() => globalThis.frames_seen)
    figures['dashboard.scroll.script_ms'] = seen.script
    figures['dashboard.scroll.longest_task_ms'] = Math.max(0, ...seen.tasks)
    const { said } = page
    await page.context().close()
    assert(said.length === 0, said.join('\n'))
  })
}
