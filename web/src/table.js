// Rows: numbers aligned, times and names short, headers that sort. A column's name says what is in it.

import { h, fill } from './dom.js'
import { moment, number, tail, unitOf, words } from './format.js'
import { href } from './state.js'

const WORDS = {
  critical: 'sev-critical',
  high: 'sev-high',
  medium: 'sev-medium',
  low: 'sev-low',
  info: 'sev-info',
  success: 'good',
  failure: 'bad',
  blocked: 'warn',
  open: 'warn',
  resolved: 'good',
  retracted: 'plain',
  unknown: 'plain',
  fired: 'bad',
  clear: 'good',
  error: 'bad',
  learning: 'plain',
  not_covered: 'plain',
  frozen: 'warn',
  gap: 'warn',
  acknowledged: 'sev-low',
  false_positive: 'plain',
  closed: 'good',
  reopened: 'warn',
}

/** A word in its colour, always with its text. */
export function badge(word) {
  if (word === null || word === undefined || word === '') return null
  return h('span', { class: ['badge', WORDS[word] ?? 'plain'] }, words(word))
}

/** What is in a cell. */
export function cell(name, value, kind) {
  if (value === null || value === undefined) return h('span', { class: 'none' }, '–')
  if (kind === 'time' || (typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(value))) {
    return h('time', { datetime: value, title: value }, moment(value))
  }
  if (typeof value === 'number') {
    const unit = name === 'score' ? null : unitOf(name) ?? (Number.isInteger(value) ? 'count' : null)
    const text = name === 'score' ? value.toFixed(3) : unit === 'percent' ? `${(value * 100).toFixed(2)} %` : number(value, unit)
    return h('span', { title: String(value) }, text)
  }
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'object') return h('code', { title: JSON.stringify(value) }, tail(JSON.stringify(value), 60))
  if (['outcome', 'severity', 'state', 'status', 'triage_state'].includes(name)) return badge(value)
  if (name === 'rule_id') return h('a', { href: href('/rules/' + encodeURIComponent(value)) }, value)
  if (name === 'finding_id') return h('a', { href: href('/findings/' + encodeURIComponent(value)) }, value.slice(0, 8))
  if (name === 'event_id') return h('code', { title: value }, value.slice(0, 8))
  if (name === 'caller' || name === 'deployment') return h('span', { class: 'name', title: value }, tail(value, 36))
  return h('span', { title: value.length > 60 ? value : null }, value.length > 160 ? value.slice(0, 160) + '…' : value)
}

/** A table of rows; a click on a header sorts. `onRow` makes rows answer to a click. */
export function table(columns, rows, { onRow, label } = {}) {
  let sorted = { place: -1, down: false }
  const isNumber = columns.map((column, place) => column.kind === 'number' || (!column.kind && rows.some((row) => typeof row[place] === 'number')))
  const body = h('tbody')
  const head = h('tr')
  const draw = () => {
    const list = [...rows]
    if (sorted.place >= 0) {
      list.sort((a, b) => compare(a[sorted.place], b[sorted.place]) * (sorted.down ? -1 : 1))
    }
    fill(
      head,
      columns.map((column, place) =>
        h(
          'th',
          {
            scope: 'col',
            class: isNumber[place] && 'num',
            'aria-sort': sorted.place === place ? (sorted.down ? 'descending' : 'ascending') : null,
          },
          h(
            'button',
            {
              type: 'button',
              onclick: () => {
                sorted = { place, down: sorted.place === place ? !sorted.down : isNumber[place] || column.kind === 'time' }
                draw()
              },
            },
            words(column.name.replace(/_share$/, '')),
          ),
        ),
      ),
    )
    fill(
      body,
      list.map((row) =>
        h(
          'tr',
          onRow ? { class: 'pickable', tabindex: 0, onclick: (event) => pick(event, row), onkeydown: (event) => event.key === 'Enter' && pick(event, row) } : null,
          columns.map((column, place) => h('td', { class: isNumber[place] && 'num' }, cell(column.name, row[place], column.kind))),
        ),
      ),
    )
  }
  const pick = (event, row) => {
    if (event.target.closest('a, button') || String(getSelection())) return
    onRow(row)
  }
  draw()
  return h('div', { class: 'table-box', tabindex: -1 }, h('table', { 'aria-label': label }, h('thead', null, head), body))
}

function compare(a, b) {
  if (a === null || a === undefined) return -1
  if (b === null || b === undefined) return 1
  if (typeof a === 'number' && typeof b === 'number') return a - b
  return String(a).localeCompare(String(b))
}
