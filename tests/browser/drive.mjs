// What a person does with the dashboard, done by a program. Every expectation is a claim about what is on the screen;
// numbers on it are compared with what the store says to `inferwatch sql`.

import { chromium } from 'playwright-core'
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import assert from 'node:assert/strict'

const [program, browserPath] = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'inferwatch-browser-'))
const store = join(folder, 'store')
const shots = new URL('shots/', import.meta.url).pathname
mkdirSync(shots, { recursive: true })

const HOSTILE = '<img src=x onerror="window.pwned=1">'

function run(...args) {
  const result = spawnSync(program, ['--no-config', '--quiet', ...args], { encoding: 'utf8', maxBuffer: 1 << 28 })
  if (result.status === 2 || result.status === null) throw new Error(`inferwatch ${args.join(' ')}: ${result.stderr}`)
  return result.stdout
}

/** The rows of a query, as the command line has them: the second source of what is on the screen. */
const ask = (sql) =>
  run('--store', store, 'sql', sql, '--format', 'ndjson')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))

function freePort() {
  return new Promise((done) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })
}

/** Rules that find something in such a day; all of them would take minutes in a program that is built for debugging. */
const RULES = ['canary-regression', 'guardrail-weakened', 'permission-denied-burst', 'prompt-injection-hourly', 'token-burn']

/**
 * How long anything may take. A program that is built for debugging plans a panel for seconds, and the machine may have
 * other work: what is waited for is always a condition, and this is only for when it never holds.
 */
const PATIENCE = 300e3

/** A board of one's own: a chart of each kind over few rows. */
let position = 0
const OWN_BOARD = {
  'board.sql': `-- /// board
-- id       = "own"
-- title    = "Own board"
-- position = 9
-- description = "For the test"
-- ///
`,
  'own-calls.sql': panelFile('own-calls', 'stacked', `SELECT date_bin($bucket, event_time) AS time, source_format AS series, count(*) AS value
FROM calls WHERE event_time >= $from AND event_time < $to GROUP BY 1, 2 ORDER BY 1`),
  'own-tokens.sql': panelFile('own-tokens', 'line', `SELECT date_bin($bucket, event_time) AS time, avg(total_tokens) AS mean, max(total_tokens) AS most
FROM calls WHERE event_time >= $from AND event_time < $to GROUP BY 1 ORDER BY 1`),
  'own-outcomes.sql': panelFile('own-outcomes', 'heat', `SELECT date_bin($bucket, event_time) AS time, outcome AS series, min(http_status_code) AS "order", count(*) AS value
FROM calls WHERE event_time >= $from AND event_time < $to GROUP BY 1, 2 ORDER BY 1`),
  'own-total.sql': panelFile('own-total', 'stat', `SELECT count(*) AS value FROM calls WHERE event_time >= $from AND event_time < $to`),
  'own-callers.sql': panelFile('own-callers', 'table', `SELECT caller, count(*) AS calls
FROM calls WHERE event_time >= $from AND event_time < $to GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 200`),
}

function panelFile(id, chart, sql) {
  const unit = chart === 'table' ? '' : '-- unit   = "count"\n'
  const bucket = ['stat', 'table'].includes(chart) ? '' : '-- bucket = "15m"\n'
  position += 1
  return `-- /// panel
-- id     = "${id}"
-- title  = "${id}"
-- board  = "own"
-- position = ${position}
-- size   = "half"
-- chart  = "${chart}"
${unit}${bucket}-- description = "For the test"
-- ///
${sql}
`
}

/** A day of logs with incidents, a caller with a hostile name, and what a few rules make of all of it. */
function prepare() {
  const logs = join(folder, 'logs')
  run('generate', '--rows', process.env.ROWS ?? '4000', '--incidents', logs)
  const lines = []
  for (let at = 0; at < 40; at += 1) {
    lines.push(
      JSON.stringify({
        event_time: new Date(Date.UTC(2026, 2, 2, 11, 5, at * 20)).toISOString(),
        request_id: `hostile-${at}`,
        caller: HOSTILE,
        model: 'spam-filter-v3',
        operation_raw: `Method${at % 5}`,
        http_status_code: 403,
        outcome: 'failure',
        error_type: 'AccessDenied',
        duration_ms: 5,
      }),
    )
  }
  writeFileSync(join(logs, 'hostile.ndjson'), lines.join('\n') + '\n')
  run('--store', store, 'ingest', logs)
  // A day of few rows is many small files until then.
  run('--store', store, 'compact')
  run('--store', store, 'run', '--once', '--rule', RULES.join(','))
}

async function serve() {
  const secret = run('--store', store, 'token', 'new', 'responder', '--all', '--triage').trim().split('\n').pop().match(/iwt_\S+/)[0]
  const port = await freePort()
  const server = spawn(program, ['--no-config', '--quiet', '--store', store, 'serve', '--listen', `127.0.0.1:${port}`, '--pg-listen', 'none', '--no-schedule', '--query-time', `${PATIENCE / 1e3}s`], { stdio: ['ignore', 'ignore', 'pipe'] })
  const address = `http://127.0.0.1:${port}`
  await new Promise((done, failed) => {
    let text = ''
    server.stderr.on('data', (data) => {
      text += data
      if (text.includes('listening')) done()
    })
    server.on('exit', () => failed(new Error('the server ended: ' + text)))
  })
  return { server, address, secret }
}

const tests = []
const test = (name, body) => tests.push([name, body])

/** Waits until every panel has an answer, and none failed. */
async function settled(page) {
  await page.waitForSelector('.panel')
  await page.waitForFunction(() => [...document.querySelectorAll('.panel')].every((panel) => panel.dataset.state && !panel.classList.contains('busy')), null, { timeout: PATIENCE })
  const failed = await page.$$eval('.panel[data-state=error]', (panels) => panels.map((panel) => panel.innerText))
  assert.deepEqual(failed, [])
}

/** A window of its own; with `WEB`, files of the front end are those of that folder. */
async function opened(browser, address, options) {
  const context = await browser.newContext(options)
  context.setDefaultTimeout(PATIENCE)
  if (process.env.WEB) {
    for (const [name, contentType] of [['app.js', 'text/javascript'], ['app.css', 'text/css']]) {
      await context.route(`${address}/assets/${name}`, (route) => route.fulfill({ body: readFileSync(join(process.env.WEB, name)), contentType }))
    }
  }
  return context
}

const shot = async (page, name, { hover = false, ...options } = {}) => {
  if (!hover) await page.mouse.move(2, 400)
  await page.screenshot({ path: join(shots, name + '.png'), ...options })
}

test('without a token there is a form, and nothing else', async ({ browser, address, secret }) => {
  const context = await browser.newContext()
  context.setDefaultTimeout(PATIENCE)
  const page = await context.newPage()
  const answer = await page.goto(address + '/boards/security')
  assert.equal(answer.status(), 401)
  assert.equal(await page.locator('input[type=password]').count(), 1)
  for (const path of ['/assets/app.js', '/api/boards', '/api/panels/latency']) {
    assert.equal((await context.request.get(address + path)).status(), 401, path)
  }
  await shot(page, 'login')
  await page.fill('#token', 'iwt_wrong')
  await page.click('button')
  assert.match(await page.innerText('[role=alert]'), /opens nothing/)
  await page.fill('#token', secret)
  await page.click('button')
  await settled(page)
  assert.match(await page.title(), /Security operations/)
  await context.close()
})

for (const [board, panel] of [
  ['security', 'tokens-by-caller'],
  ['model', 'latency'],
  ['reliability', 'budget-table'],
]) {
  test(`board ${board} renders with data, light and dark`, async ({ page, address }) => {
    await page.goto(`${address}/boards/${board}`)
    await settled(page)
    const states = await page.$$eval('.panel', (panels) => Object.fromEntries(panels.map((panel) => [panel.id, panel.dataset.state])))
    const empty = Object.entries(states).filter(([, state]) => state === 'empty').map(([id]) => id)
    assert.deepEqual(empty, [], 'panels without data')
    assert.ok(Object.keys(states).includes('panel-' + panel))
    // Drawn, and each with its query's time.
    assert.ok((await page.locator('.panel canvas').count()) >= 4)
    for (const text of await page.locator('.panel .elapsed').allInnerTexts()) assert.match(text, /\d (ms|s|min)$/)
    for (const theme of ['light', 'dark']) {
      await page.evaluate((theme) => localStorage.setItem('inferwatch.theme', JSON.stringify(theme)), theme)
      await page.reload()
      await settled(page)
      assert.equal(await page.getAttribute('html', 'data-theme'), theme)
      const ground = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)
      const brightness = ground.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3
      assert.ok(theme === 'dark' ? brightness < 60 : brightness > 200, `${theme}: ${ground}`)
      await shot(page, `${board}-${theme}`, { fullPage: true })
    }
    await page.evaluate(() => localStorage.removeItem('inferwatch.theme'))
  })
}

test('numbers on the screen are those of the store', async ({ page, address }) => {
  await page.goto(`${address}/boards/security?from=2026-03-02T00:00:00.000Z&to=2026-03-03T00:00:00.000Z`)
  await settled(page)
  const shown = async (id) => (await page.innerText(`#panel-${id} .stat-value`)).replaceAll(',', '')
  const within = "event_time >= TIMESTAMP '2026-03-02T00:00:00Z' AND event_time < TIMESTAMP '2026-03-03T00:00:00Z'"
  const [{ calls, blocked }] = ask(`SELECT count(*) AS calls, count(*) FILTER (WHERE outcome = 'blocked' OR guardrail_action = 'blocked') AS blocked FROM calls_merged WHERE ${within}`)
  assert.equal(await shown('calls-total'), String(calls))
  assert.equal(await shown('blocked-total'), String(blocked))
  const [{ open }] = ask(`SELECT count(*) AS open FROM findings_now WHERE status = 'open' AND NOT suppressed AND excepted IS NULL AND ${within}`)
  assert.equal(await shown('open-findings'), String(open))
  // Every suspicious prompt is a row.
  const [{ suspicious }] = ask(`SELECT count(*) AS suspicious FROM calls_merged WHERE injection_score >= 0.5 AND ${within}`)
  assert.ok(suspicious > 0)
  assert.equal(await page.locator('#panel-suspicious-prompts tbody tr').count(), Math.min(100, suspicious))
})

test('a click on a bar leads to the calls behind it, a title to the query', async ({ page, address }) => {
  await page.goto(`${address}/boards/security`)
  await settled(page)
  const over = page.locator('#panel-tokens-by-caller .u-over')
  await over.scrollIntoViewIfNeeded()
  const box = await over.boundingBox()
  await page.mouse.move(box.x + box.width * 0.5, box.y + box.height - 6)
  await page.waitForSelector('#panel-tokens-by-caller .tip:not([hidden])')
  await shot(page, 'tooltip', { hover: true })
  await page.mouse.click(box.x + box.width * 0.5, box.y + box.height - 6)
  await page.waitForURL(/\/sql\?q=/)
  await page.waitForSelector('.answer table')
  const sql = await page.inputValue('.editor-text')
  assert.match(sql, /FROM calls_merged/)
  assert.doesNotMatch(sql, /\$(from|to|series|caller|model)/)
  // What was not chosen is no condition.
  assert.doesNotMatch(sql, /NULL/)
  assert.ok((await page.locator('.answer tbody tr').count()) > 0)
  await shot(page, 'sql')
  await page.goBack()
  await settled(page)
  await page.click('#panel-cost-burn .panel-title')
  await page.waitForURL(/\/sql\?q=/)
  await page.waitForSelector('.answer table')
  assert.match(await page.inputValue('.editor-text'), /date_bin\(INTERVAL/)
})

test('a saved query is there after a reload', async ({ page, address }) => {
  await page.goto(`${address}/sql`)
  await page.fill('.editor-text', 'SELECT count(*) AS calls FROM calls_merged')
  await page.keyboard.press('Control+Enter')
  await page.waitForSelector('.answer td')
  const [{ calls }] = ask('SELECT count(*) AS calls FROM calls_merged')
  assert.equal((await page.innerText('.answer td')).replaceAll(',', ''), String(calls))
  await page.fill('.save input', 'How many')
  await page.click('.save button')
  await page.goto(`${address}/sql`)
  assert.match(await page.innerText('.saved'), /How many/)
  await page.fill('.editor-text', 'SELECT nothing FROM calls')
  await page.click('.actions .primary')
  await page.waitForSelector('.answer .notice.error')
  assert.match(await page.innerText('.answer'), /nothing/)
  await shot(page, 'sql-error')
})

test('a name with markup stays text, everywhere', async ({ page, address }) => {
  const hostile = ask(`SELECT finding_id FROM findings_now WHERE rule_id = 'permission-denied-burst' AND strpos(entity, 'onerror') > 0`)
  assert.equal(hostile.length, 1)
  for (const path of [
    '/boards/security',
    `/boards/security?caller=${encodeURIComponent(HOSTILE)}`,
    '/findings',
    `/findings/${hostile[0].finding_id}`,
    '/rules/permission-denied-burst',
    `/sql?q=${encodeURIComponent(`SELECT caller, count(*) AS n FROM calls WHERE strpos(caller, 'onerror') > 0 GROUP BY caller -- ${HOSTILE}`)}`,
  ]) {
    await page.goto(address + path)
    await page.waitForFunction((text) => document.body.innerText.includes(text) || document.querySelector(`[title*="onerror"]`) || [...document.querySelectorAll('input, textarea')].some((field) => field.value.includes('onerror')), 'onerror', { timeout: PATIENCE })
    // An image whose address cannot be loaded says so a moment later: that there is none is what holds at once.
    assert.equal(await page.evaluate(() => window.pwned), undefined, path)
    assert.equal(await page.locator('img').count(), 0, path)
  }
  await page.goto(`${address}/findings/${hostile[0].finding_id}`)
  await page.waitForSelector('.subject')
  assert.equal(await page.innerText('.subject'), HOSTILE)
  await shot(page, 'hostile')
})

test('a rule shows its windows, gaps and query', async ({ page, address }) => {
  await page.goto(`${address}/rules`)
  await page.waitForSelector('tr.item')
  await shot(page, 'rules')
  await page.fill('.filters input', 'canary-regression')
  await page.waitForFunction(() => document.querySelectorAll('tr.item').length === 1)
  await page.click('tr.item a.main')
  await page.waitForSelector('.code')
  await page.waitForSelector('.chart canvas')
  assert.match(await page.innerText('.code'), /GROUP BY model, model_deployment/)
  assert.match(await page.innerText('#rule'), /Gaps/)
  await shot(page, 'rule', { fullPage: true })
})

test('the keyboard goes everywhere', async ({ page, address }) => {
  await page.goto(address + '/')
  await settled(page)
  await page.keyboard.press('?')
  await page.waitForSelector('dialog[open]')
  await shot(page, 'help')
  await page.keyboard.press('Escape')
  await page.waitForSelector('dialog', { state: 'detached' })
  await page.keyboard.press('g')
  await page.keyboard.press('f')
  await page.waitForURL(/\/findings/)
  await page.waitForSelector('tr.item')
  await page.keyboard.press('j')
  await page.keyboard.press('j')
  assert.equal(await page.evaluate(() => [...document.querySelectorAll('tr.item')].indexOf(document.activeElement)), 1)
  await page.keyboard.press('k')
  await page.keyboard.press('o')
  await page.waitForURL(/\/findings\/[0-9a-f]+/)
  await page.keyboard.press('g')
  await page.keyboard.press('f')
  await page.waitForSelector('tr.item')
  await page.keyboard.press('/')
  await page.keyboard.type('canary')
  await page.waitForFunction(() => document.querySelectorAll('tr.item').length === 1)
  assert.match(page.url(), /q=canary/)
})

test('without a pointer a range is chosen, a chart read, and what is behind it opened', async ({ page, address }) => {
  await page.goto(`${address}/boards/security`)
  await settled(page)
  const focused = () => page.evaluate(() => document.activeElement.getAttribute('name') ?? document.activeElement.id)
  // From the top of the page on with Tab: every stop is seen, and none is a trap.
  const stops = new Set()
  await page.evaluate(() => document.activeElement.blur())
  for (let at = 0; at < 200; at += 1) {
    await page.keyboard.press('Tab')
    const stop = await page.evaluate(() => {
      const element = document.activeElement
      if (element === document.body) return null
      element.dataset.stop ??= String(document.querySelectorAll('[data-stop]').length)
      const { outlineStyle, outlineWidth } = getComputedStyle(element)
      const has = outlineStyle !== 'none' && parseFloat(outlineWidth) > 0
      return { stop: element.dataset.stop, seen: has || element.matches(':has(~ :focus), details summary'), what: element.outerHTML.slice(0, 80) }
    })
    if (stop === null || stops.has(stop.stop)) break
    assert.ok(stop.seen, `no ring around ${stop.what}`)
    stops.add(stop.stop)
  }
  assert.ok(stops.size > 40 && stops.size < 200, `${stops.size} stops`)
  const reached = await page.$$eval('.panel', (panels) => panels.filter((panel) => !panel.querySelector('[data-stop]')).map((panel) => panel.id))
  assert.deepEqual(reached, [], 'panels that Tab passes over')

  // A choice stays where the keyboard is, though all panels are others after it.
  await page.focus('[name="range-6h"]')
  await page.keyboard.press('Enter')
  await page.waitForURL(/range=6h/)
  assert.equal(await focused(), 'range-6h')
  await page.focus('[name="range-24h"]')
  await page.keyboard.press('Enter')
  await settled(page)

  await page.focus('#panel-tokens-by-caller .chart-canvas')
  for (let at = 0; at < 13; at += 1) await page.keyboard.press('ArrowRight')
  const tip = page.locator('#panel-tokens-by-caller .tip')
  assert.match(await tip.innerText(), /^2 Mar 03:00/)
  await page.keyboard.press('ArrowUp')
  const series = await tip.locator('.near .tip-name').innerText()
  await shot(page, 'keyboard', { hover: true })
  await page.keyboard.press('Enter')
  await page.waitForURL(/\/sql\?q=/)
  await page.waitForSelector('.answer table')
  const sql = await page.inputValue('.editor-text')
  assert.match(sql, /TIMESTAMP '2026-03-02T03:00:00.000Z' AND event_time < TIMESTAMP '2026-03-02T03:15:00.000Z'/)
  assert.match(sql, /coalesce\(caller, '\(nobody named\)'\) = '/)
  assert.ok(sql.includes(series.replace('…', '')), `${series} in ${sql}`)

  // Esc closes what is open and leaves the keyboard there.
  await page.goBack()
  await settled(page)
  await page.focus('.custom summary')
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Escape')
  assert.equal(await page.locator('.custom[open]').count(), 0)
  assert.ok(await page.evaluate(() => document.activeElement.matches('.custom summary')))
})

test('nothing moves for whoever asked for that', async ({ page, address }) => {
  // Never answered: the panel goes on waiting.
  await page.route('**/api/panels/latency?*', () => {})
  for (const [reducedMotion, moves] of [['no-preference', true], ['reduce', false]]) {
    await page.emulateMedia({ reducedMotion })
    await page.goto(`${address}/boards/model`)
    await page.waitForSelector('#panel-latency.busy')
    assert.equal(await page.evaluate(() => document.getAnimations().length > 0), moves, reducedMotion)
  }
})

/** Texts with less contrast to what is behind them than WCAG 2.2 asks of small text (AA). */
function pale() {
  const parts = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number)
    return { r, g, b, a }
  }
  const over = (top, below) => {
    const mix = (name) => top[name] * top.a + below[name] * (1 - top.a)
    return { r: mix('r'), g: mix('g'), b: mix('b'), a: 1 }
  }
  const light = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4))
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const groundOf = (element) => {
    const layers = []
    for (let one = element; one; one = one.parentElement) {
      const color = parts(getComputedStyle(one).backgroundColor)
      layers.push(color)
      if (color.a === 1) break
    }
    return layers.reverse().reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 })
  }
  const found = new Set()
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    if (!walker.currentNode.data.trim() || !element.checkVisibility({ visibilityProperty: true }) || element.matches('noscript, script, option')) continue
    // The text of the editor is drawn by what lies below it.
    if (element.matches('textarea') || element.closest(':disabled')) continue
    const ground = groundOf(element)
    const text = parts(getComputedStyle(element).color)
    for (let one = element; one; one = one.parentElement) text.a *= Number(getComputedStyle(one).opacity)
    const [a, b] = [light(over(text, ground)), light(ground)]
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (contrast < 4.5) found.add(`${contrast.toFixed(2)} ${element.tagName.toLowerCase()}.${element.className} ${walker.currentNode.data.trim().slice(0, 30)}`)
  }
  return [...found]
}

test('every text can be read, light and dark', async ({ page, address }) => {
  const [{ finding_id }] = ask(`SELECT finding_id FROM findings_now WHERE rule_id = 'guardrail-weakened' LIMIT 1`)
  for (const theme of ['light', 'dark']) {
    await page.goto(address + '/sql')
    await page.evaluate((theme) => localStorage.setItem('inferwatch.theme', JSON.stringify(theme)), theme)
    for (const [path, ready] of [
      ['/boards/security', '.panel'],
      ['/boards/model', '.panel'],
      ['/boards/reliability', '.panel'],
      ['/findings', 'tr.item'],
      [`/findings/${finding_id}`, '.timeline'],
      ['/rules', 'tr.item'],
      ['/rules/guardrail-weakened', '.code'],
      ['/sql?q=SELECT%20caller%2C%20model%2C%20outcome%2C%20http_status_code%20FROM%20calls%20LIMIT%2020', '.answer td'],
    ]) {
      await page.goto(address + path)
      await page.waitForSelector(ready)
      if (ready === '.panel') await settled(page)
      else await shot(page, `${path.split(/[/?]/)[1]}${path.split('/').length > 2 ? '-one' : ''}-${theme}`, { fullPage: true })
      assert.deepEqual(await page.evaluate(pale), [], `${theme} ${path}`)
    }
  }
  await page.evaluate(() => localStorage.removeItem('inferwatch.theme'))
})

test('an empty range and a failing panel say so', async ({ page, address }) => {
  await page.goto(`${address}/boards/model?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z`)
  await settled(page)
  assert.match(await page.innerText('#panel-latency'), /Nothing in this range/)
  await shot(page, 'empty')
  await page.route('**/api/panels/latency?*', (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify({ title: 'it took too long', hint: 'ask for less at a time' }) }))
  await page.goto(`${address}/boards/model`)
  await page.waitForSelector('#panel-latency[data-state=error]')
  assert.match(await page.innerText('#panel-latency'), /it took too long[\s\S]*ask for less/)
  await page.waitForFunction(() => document.querySelectorAll('.panel.busy').length === 0)
  await shot(page, 'error')
  await page.unroute('**/api/panels/latency?*')
  await page.click('#panel-latency .actions button')
  await page.waitForSelector('#panel-latency[data-state=ready]')
})

test('at phone width nothing is cut off', async ({ browser, address, state }) => {
  const context = await opened(browser, address, { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, storageState: state })
  const page = await context.newPage()
  for (const [path, name, ready] of [
    ['/boards/security', 'phone-security', '.panel'],
    ['/boards/model', 'phone-model', '.panel'],
    ['/boards/reliability', 'phone-reliability', '.panel'],
    ['/findings', 'phone-findings', 'tr.item'],
    ['/rules', 'phone-rules', 'tr.item'],
    ['/rules/guardrail-weakened', 'phone-rule', '.code'],
    ['/sql', 'phone-sql', '.editor'],
  ]) {
    await page.goto(address + path)
    await page.waitForSelector(ready)
    if (ready === '.panel') await settled(page)
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    assert.ok(wide <= 0, `${path} is ${wide} pixels too wide`)
    const cut = await page.evaluate(() => [...document.querySelectorAll('h1, h2, .stat-value, .stat-before, .toolbar *')].filter((one) => one.checkVisibility() && one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1).map((one) => one.innerText))
    assert.deepEqual(cut, [], `cut off on ${path}`)
    await shot(page, name, { fullPage: ready === '.panel' })
  }
  await page.goto(address + '/findings')
  await page.locator('tr.item a.main').first().click()
  await page.waitForSelector('.actions button')
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  assert.ok(wide <= 0, `a finding is ${wide} pixels too wide`)
  await shot(page, 'phone-finding', { fullPage: true })
  await context.close()
})

test('a board that was written to a file needs nothing else', async ({ browser }) => {
  const file = join(folder, 'board.html')
  const panels = join(folder, 'panels')
  mkdirSync(panels)
  for (const [name, text] of Object.entries(OWN_BOARD)) writeFileSync(join(panels, name), text)
  run('--store', store, 'dashboard', 'render', '--dashboards', panels, 'own', '--output', file)
  const context = await browser.newContext()
  context.setDefaultTimeout(PATIENCE)
  const page = await context.newPage()
  const asked = []
  page.on('request', (request) => asked.push(request.url()))
  const complaints = []
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
  await page.goto('file://' + file)
  await settled(page)
  assert.deepEqual(asked, ['file://' + file])
  assert.deepEqual(complaints, [])
  assert.equal(await page.locator('.panel canvas').count(), 3)
  const [{ callers }] = ask('SELECT count(DISTINCT caller) AS callers FROM calls')
  assert.ok(callers > 10)
  // One row is that of calls without a caller, if there are any.
  const rows = await page.locator('#panel-own-callers tbody tr').count()
  assert.ok(rows === callers || rows === callers + 1, `${rows} rows, ${callers} callers`)
  await shot(page, 'file', { fullPage: true })
  await context.close()
})

// The last: it writes, and after it no answer that was kept is one.
test('triage persists across a reload, is audited, and says who', async ({ page, address }) => {
  await page.goto(`${address}/findings`)
  await page.waitForSelector('tr.item')
  await shot(page, 'findings', { fullPage: true })
  await page.selectOption('select[aria-label="Any severity"]', 'high')
  await page.waitForSelector('tr.item')
  const severities = await page.$$eval('tr.item', (rows) => [...new Set(rows.map((row) => row.dataset.severity))])
  assert.deepEqual(severities, ['high'])
  await page.locator('tr.item a.main').first().click()
  await page.waitForSelector('.actions button[data-state=acknowledged]')
  const id = new URL(page.url()).pathname.split('/').pop()
  await shot(page, 'finding', { fullPage: true })
  await page.fill('textarea', `seen with ${HOSTILE}`)
  await page.click('button[data-state=acknowledged]')
  await page.waitForSelector('.words li')
  await page.reload()
  await page.waitForSelector('.words li')
  assert.match(await page.innerText('.now'), /acknowledged.*responder/s)
  assert.ok((await page.innerText('.words')).includes(`seen with ${HOSTILE}`))
  const [said] = ask(`SELECT triage_state, triage_note, triaged_by FROM triage WHERE finding_id = '${id}'`)
  assert.deepEqual(said, { triage_state: 'acknowledged', triage_note: `seen with ${HOSTILE}`, triaged_by: 'responder' })
  await page.click('button[data-state=closed]')
  await page.waitForFunction(() => document.querySelectorAll('.words li').length === 2)
  const [last] = ask(`SELECT triage_state FROM triage WHERE finding_id = '${id}'`)
  assert.equal(last.triage_state, 'closed')
  const [{ rows }] = ask(`SELECT count(*) AS rows FROM audit WHERE action_class = 'store.triage' AND resource_id = '${id}'`)
  assert.equal(rows, 2)
  await page.goto(`${address}/findings?triage=closed`)
  await page.waitForSelector('tr.item')
  assert.equal(await page.locator('tr.item').count(), 1)
})

const began = Date.now()
prepare()
console.log(`store made (${((Date.now() - began) / 1000).toFixed(1)} s)`)
const { server, address, secret } = await serve()
const browser = await chromium.launch({
  executablePath: browserPath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
let failures = 0
try {
  const context = await opened(browser, address, { viewport: { width: 1440, height: 900 } })
  const login = await context.newPage()
  await login.goto(address)
  await login.fill('#token', secret)
  await login.click('button')
  await login.waitForSelector('.panel')
  await login.close()
  const state = await context.storageState()
  const only = process.env.ONLY
  for (const [name, body] of tests.filter(([name]) => !only || name.includes(only))) {
    const page = await context.newPage()
    page.setDefaultTimeout(PATIENCE)
    // Nothing may be asked for elsewhere, and the policy may have nothing to complain of.
    const complaints = []
    page.on('request', (request) => !request.url().startsWith(address) && !request.url().startsWith('data:') && complaints.push('asked for ' + request.url()))
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('console', (message) => /Content Security Policy|Refused to/.test(message.text()) && complaints.push(message.text()))
    const started = Date.now()
    try {
      await body({ browser, page, address, secret, state })
      assert.deepEqual(complaints, [])
      console.log(`ok    ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
    } catch (error) {
      failures += 1
      console.log(`FAIL  ${name}\n${error.stack}`)
      await page.screenshot({ path: join(shots, `failed-${failures}.png`) }).catch(() => {})
    }
    await page.close()
  }
} finally {
  await browser.close()
  server.kill('SIGTERM')
  await new Promise((done) => server.on('exit', done))
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${failures} failed in ${((Date.now() - began) / 1000).toFixed(0)} s; screenshots in ${shots}`)
process.exit(failures ? 1 : 0)
