// A panel of a board: asks, waits, draws, says what went wrong, and leads on.

import { get, page, Trouble } from './api.js'
import { Chart } from './chart.js'
import { h, fill, icon } from './dom.js'
import { number, range, span } from './format.js'
import { asked, go } from './state.js'
import { table } from './table.js'

const quoted = (text) => (text === null || text === undefined || text === '' ? 'NULL' : `'${String(text).replaceAll("'", "''")}'`)

/** A condition that holds for every row unless its parameter has a value. */
const OPTIONAL = /\n *AND \(\$(series|caller|model) IS NULL OR (.+)\)(?=\n|$)/g

/** A drill-down with its values in place and no condition without one, as a person would have typed it. */
export function filled(sql, { from, to, series, caller, model }) {
  const values = {
    from: `TIMESTAMP '${new Date(from).toISOString()}'`,
    to: `TIMESTAMP '${new Date(to).toISOString()}'`,
    series: quoted(series),
    caller: quoted(caller),
    model: quoted(model),
  }
  const needed = sql.replace(OPTIONAL, (all, name, condition) => {
    if (values[name] === 'NULL') return ''
    return / OR /i.test(condition) ? all : all.replace(/\(.+\)$/, () => condition)
  })
  return needed.replace(/\$(from|to|series|caller|model)\b/g, (_, name) => values[name])
}

/** A loading, empty or failed panel. */
export function notice(kind, title, text, ...actions) {
  return h('div', { class: ['notice', kind] }, kind === 'error' && icon('alert'), h('strong', null, title), text && h('p', null, text), actions.length > 0 && h('div', { class: 'actions' }, actions))
}

/** A text of a file with lines of its own width: those of a paragraph are one. */
export const prose = (text) => h('p', { class: 'prose' }, String(text).replace(/([^\n])\n(?![\n\s*-])/g, '$1 '))

export const skeleton = (rows = 3) => h('div', { class: 'skeleton', 'aria-label': 'loading' }, Array.from({ length: rows }, () => h('span')))

export class PanelCard {
  constructor(meta, board) {
    this.meta = meta
    this.board = board
    this.chart = null
    this.answer = null
    this.time = h('span', { class: 'elapsed' })
    this.body = h('div', { class: ['panel-body', 'is-' + meta.chart] })
    this.title = h('a', { href: '/sql', class: 'panel-title', title: 'Open the query' }, meta.title)
    this.title.addEventListener('click', (event) => {
      event.preventDefault()
      this.openQuery()
    })
    const about = h('details', { class: 'about' }, h('summary', { 'aria-label': 'About ' + meta.title }, icon('info')), h('p', null, meta.description))
    this.element = h(
      'section',
      { class: ['panel', 'size-' + meta.size], tabindex: -1, id: 'panel-' + meta.id, 'aria-label': meta.title, 'data-chart': meta.chart },
      h('header', null, h('h2', null, this.title), about, h('span', { class: 'grow' }), this.time),
      this.body,
    )
    this.element.panel = this
    fill(this.body, skeleton(meta.chart === 'stat' ? 1 : 3))
  }

  /** Asks, and draws the answer. What is drawn stays while something new is asked for. */
  async load(signal) {
    this.element.classList.add('busy')
    try {
      const answer = page ? page.answers[this.meta.id] : await get('/api/panels/' + encodeURIComponent(this.meta.id), asked(this.board.range_seconds * 1000), signal)
      if (answer.error) throw new Trouble(answer.error, answer.hint)
      this.show(answer)
    } catch (error) {
      if (error.name !== 'AbortError') this.fail(error)
    } finally {
      if (!signal?.aborted) this.element.classList.remove('busy')
    }
  }

  show(answer) {
    this.answer = answer
    this.element.dataset.state = 'ready'
    fill(this.time, elapsed(answer))
    this.time.title = `${answer.rows.length} rows${answer.is_cut ? ', and more' : ''}, steps of ${span(answer.bucket_seconds)}${answer.is_cached ? ', kept from an earlier look at the same data' : ''}`
    this.chart?.destroy()
    this.chart = null
    if (this.meta.chart === 'stat') return this.stat(answer)
    if (answer.rows.length === 0) return this.empty()
    if (this.meta.chart === 'table') {
      const columns = answer.columns
      return fill(this.body, table(columns, answer.rows, { label: this.meta.title }), answer.is_cut && h('p', { class: 'cut' }, 'There are more rows; open the query to see them.'))
    }
    this.chart = new Chart(this.meta, answer, { onPick: this.meta.drill_down && !page ? (found) => this.drill(found) : null, sync: 'board' })
    this.chart.onRange = page ? null : (from, to) => go(`${location.pathname}?from=${new Date(from).toISOString()}&to=${new Date(to).toISOString()}`)
    if (this.chart.isEmpty) return this.empty()
    fill(this.body, this.chart.element)
    this.chart.fit()
  }

  stat(answer) {
    const at = (name) => answer.columns.findIndex((column) => column.name === name)
    const row = answer.rows[0] ?? []
    const value = row[at('value')] ?? null
    const before = at('previous') >= 0 ? row[at('previous')] : null
    if (value === null) return this.empty()
    const beyond = this.meta.thresholds.filter((one) => (one.below ? value < one.value : value >= one.value))
    const rank = { info: 0, warning: 1, critical: 2 }
    const level = beyond.sort((a, b) => rank[b.level] - rank[a.level])[0]?.level
    let change = null
    if (before !== null && this.meta.unit === 'percent') {
      const points = (value - before) * 100
      change = Math.abs(points) < 0.005 ? 'as before' : `${points > 0 ? '▲' : '▼'} ${Math.abs(points).toFixed(Math.abs(points) < 1 ? 2 : 1)} points`
    } else if (before) {
      const share = (value - before) / Math.abs(before)
      change = Math.abs(share) < 0.0005 ? 'as before' : `${share > 0 ? '▲' : '▼'} ${Math.abs(share) >= 10 ? Math.round(Math.abs(share)) + ' times' : number(Math.abs(share), 'percent')}`
    }
    const seconds = (Date.parse(answer.to) - Date.parse(answer.from)) / 1000
    fill(
      this.body,
      h(
        this.meta.drill_down && !page ? 'button' : 'div',
        { class: ['stat', level && 'level-' + level], type: this.meta.drill_down && !page ? 'button' : null, onclick: () => this.drill({ series: null }) },
        h('span', { class: 'stat-value' }, number(value, this.meta.unit)),
        h('span', { class: 'stat-before' }, change && h('b', null, change), before === null ? 'nothing known before' : `${number(before, this.meta.unit)} in the ${lengthText(seconds)} before`),
      ),
    )
  }

  empty() {
    this.element.dataset.state = 'empty'
    const seconds = (Date.parse(this.answer.to) - Date.parse(this.answer.from)) / 1000
    fill(this.body, notice('empty', 'Nothing in this range', `${range(this.answer.from, this.answer.to)} UTC. ${seconds < 86400 * 7 ? 'A longer range may have some.' : ''}`))
  }

  fail(error) {
    this.element.dataset.state = 'error'
    this.chart?.destroy()
    this.chart = null
    fill(this.time)
    const again = h('button', { type: 'button', onclick: () => this.load() }, 'Try again')
    const query = h('button', { type: 'button', onclick: () => this.openQuery() }, 'Open the query')
    fill(this.body, notice('error', error.message, error.hint, page ? [] : [again, this.answer ? query : null]))
  }

  /** From a step and a series to what is behind them. */
  drill(found) {
    const to = this.meta.drill_down
    if (!to || page) return
    const { from, to: end, caller, model } = asked(this.board.range_seconds * 1000)
    const step = found.from ? { from: found.from * 1000, to: found.to * 1000 } : { from, to: end }
    if (to.sql) {
      // What is left over has no condition of its own.
      const series = found.series === '(others)' ? null : found.series
      const sql = filled(to.sql, { ...step, series, caller, model })
      return go('/sql?q=' + encodeURIComponent(sql))
    }
    const link = found.series === null ? to.link.replace(/[?&][a-z]+=\$series/, '') : to.link.replace('$series', encodeURIComponent(found.series))
    go(link)
  }

  openQuery() {
    if (this.answer && !page) go('/sql?q=' + encodeURIComponent(this.answer.sql))
  }

  redraw() {
    this.chart?.redraw()
  }

  destroy() {
    this.chart?.destroy()
  }
}

function lengthText(seconds) {
  const hours = seconds / 3600
  if (hours < 2) return span(Math.round(seconds / 60) * 60)
  return hours <= 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} d`
}

/** What the query took. */
export function elapsed(answer) {
  const ms = answer.elapsed_ms
  return `${answer.is_cached ? 'kept · ' : ''}${ms < 10 ? ms.toFixed(1) + ' ms' : ms < 10000 ? Math.round(ms) + ' ms' : number(ms, 'ms')}`
}
