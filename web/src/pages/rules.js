// All rules, with what came of them in the range.

import { get } from '../api.js'
import { h, fill } from '../dom.js'
import { moment, number } from '../format.js'
import { notice, skeleton } from '../panel.js'
import { asked, go, here, href, set } from '../state.js'
import { badge } from '../table.js'
import { toolbar } from '../toolbar.js'

const STANDARD = 86400e3

export function rules() {
  const controller = new AbortController()
  const list = h('div', { class: 'list-box' }, skeleton(10))
  const count = h('span', { class: 'muted' })
  let all = []
  const query = h('input', { type: 'search', value: here().search.get('q') ?? '', placeholder: 'Search  /', 'aria-label': 'Search', spellcheck: 'false', autocomplete: 'off' })
  query.addEventListener('input', () => {
    set({ q: query.value }, { replace: true, quiet: true })
    draw()
  })
  const draw = () => {
    const text = query.value.toLowerCase()
    const shown = all.filter((one) => [one.rule_id, one.title, one.family, one.severity].some((part) => part.toLowerCase().includes(text)))
    fill(count, `${shown.length} of ${all.length}`)
    if (shown.length === 0) return fill(list, notice('empty', 'No rule has that in it'))
    const families = [...new Set(shown.map((one) => one.family))]
    fill(
      list,
      h(
        'table',
        { class: 'rules', 'aria-label': 'Rules' },
        h('thead', null, h('tr', null, ['Severity', 'Rule', 'Every'].map((name) => h('th', { scope: 'col' }, name)), ['Open', 'Findings', 'Windows', 'Not covered', 'Failed', 'Cost'].map((name) => h('th', { scope: 'col', class: 'num' }, name)), h('th', { scope: 'col' }, 'Looked up to'))),
        families.map((family) => h('tbody', null, h('tr', { class: 'group' }, h('th', { colspan: 10, scope: 'rowgroup' }, family.replaceAll('-', ' '))), shown.filter((one) => one.family === family).map(row))),
      ),
    )
  }
  const row = (one) =>
    h(
      'tr',
      { class: 'pickable item', tabindex: -1, onclick: (event) => !event.target.closest('a') && go('/rules/' + encodeURIComponent(one.rule_id)) },
      h('td', null, badge(one.severity)),
      h('td', null, h('a', { class: 'main', href: href('/rules/' + encodeURIComponent(one.rule_id)) }, one.title), h('div', { class: 'sub' }, one.rule_id, one.status !== 'stable' && ` · ${one.status}`)),
      h('td', { class: 'quiet' }, one.every),
      h('td', { class: ['num', one.open > 0 && 'strong'] }, number(one.open ?? 0, 'count')),
      h('td', { class: 'num' }, number(one.findings ?? 0, 'count')),
      h('td', { class: 'num' }, one.windows === undefined ? '–' : number(one.windows, 'count')),
      h('td', { class: 'num quiet' }, one.uncovered ? number(one.uncovered, 'count') : '–'),
      h('td', { class: ['num', one.failed > 0 && 'bad'] }, one.failed ? number(one.failed, 'count') : '–'),
      h('td', { class: 'num quiet' }, one.elapsed_ms ? number(one.elapsed_ms, 'ms') : '–'),
      h('td', { class: 'quiet' }, one.last_window ? moment(one.last_window, false) : 'never'),
    )
  const load = async () => {
    try {
      const { from, to } = asked(STANDARD)
      all = (await get('/api/dashboard/rules', { from, to }, controller.signal)).rules
      draw()
    } catch (error) {
      if (error.name !== 'AbortError') fill(list, notice('error', error.message, error.hint, h('button', { type: 'button', onclick: load }, 'Try again')))
    }
  }
  load()
  return {
    title: 'Rules',
    standard: STANDARD,
    element: h('div', { class: 'page', id: 'rules' }, h('div', { class: 'heading' }, h('h1', null, 'Rules'), count), toolbar({ standard: STANDARD, filters: false, onRefresh: load }), h('div', { class: 'filters' }, query), list),
    refresh: load,
    search: () => query,
    items: () => [...list.querySelectorAll('tr.item')],
    open: (element) => element.querySelector('a.main')?.click(),
    leave: () => controller.abort(),
  }
}
