// The list of findings, with filters that are in the address.

import { get } from '../api.js'
import { h, fill } from '../dom.js'
import { ago, moment, number, subject, tail, words } from '../format.js'
import { notice, skeleton } from '../panel.js'
import { asked, go, here, href, set } from '../state.js'
import { badge } from '../table.js'
import { toolbar } from '../toolbar.js'

const SEVERITIES = ['critical', 'high', 'medium', 'low', 'info']
const STANDARD = 7 * 86400e3

export function findings() {
  const controller = new AbortController()
  const list = h('div', { class: 'list-box' }, skeleton(6))
  const count = h('span', { class: 'muted' })
  const { search } = here()
  const chosen = (name, otherwise = '') => search.get(name) ?? otherwise
  let all = []

  const choice = (name, label, options) =>
    h(
      'select',
      { name, 'aria-label': label, class: chosen(name) && 'on', onchange: (event) => set({ [name]: event.target.value }) },
      h('option', { value: '' }, label),
      options.map((option) => h('option', { value: option, selected: chosen(name) === option }, words(option))),
    )
  const query = h('input', { type: 'search', name: 'q', value: chosen('q'), placeholder: 'Search  /', 'aria-label': 'Search', class: chosen('q') && 'on', spellcheck: 'false', autocomplete: 'off' })
  query.addEventListener('input', () => {
    set({ q: query.value }, { replace: true, quiet: true })
    draw()
  })

  const matches = (one) => {
    const now = here().search
    const text = (now.get('q') ?? '').toLowerCase()
    const state = one.triage_state && one.triage_state !== 'reopened' ? one.triage_state : 'untouched'
    return (
      (!now.get('severity') || one.severity === now.get('severity')) &&
      (!now.get('status') || one.status === now.get('status')) &&
      (!now.get('rule') || one.rule_id === now.get('rule')) &&
      (!now.get('triage') || state === now.get('triage')) &&
      (now.get('told') === 'all' || !(one.suppressed || one.excepted) || now.get('rule') === one.rule_id) &&
      (!now.get('caller') || subject(one.entity).includes(now.get('caller'))) &&
      (!text || [one.title, one.rule_id, subject(one.entity), one.triage_note].some((part) => String(part ?? '').toLowerCase().includes(text)))
    )
  }

  const draw = () => {
    const shown = all.filter(matches)
    fill(count, `${shown.length} of ${all.length}`)
    if (all.length === 0) return fill(list, notice('empty', 'No findings in this range', 'Rules found nothing here, or have not looked yet: the page of rules says how far each has come.'))
    if (shown.length === 0) {
      const clear = h('button', { type: 'button', onclick: () => set({ severity: null, status: null, rule: null, triage: null, q: null, told: null, caller: null }) }, 'Clear the filters')
      return fill(list, notice('empty', 'None of them meets the filters', null, clear))
    }
    fill(
      list,
      h(
        'table',
        { class: 'findings', 'aria-label': 'Findings' },
        h('thead', null, h('tr', null, ['Severity', 'Finding', 'Subject', 'Last seen'].map((name) => h('th', { scope: 'col' }, name)), h('th', { scope: 'col', class: 'num' }, 'Events'), h('th', { scope: 'col' }, 'State'))),
        h('tbody', null, shown.map(row)),
      ),
    )
  }

  const row = (one) => {
    const link = href('/findings/' + encodeURIComponent(one.finding_id))
    const seen = one.last_seen ?? one.event_time
    return h(
      'tr',
      { class: ['pickable', 'item', (one.suppressed || one.excepted) && 'quiet'], tabindex: -1, 'data-severity': one.severity, onclick: (event) => !event.target.closest('a') && go('/findings/' + encodeURIComponent(one.finding_id)) },
      h('td', null, badge(one.severity)),
      h('td', null, h('a', { href: link, class: 'main' }, one.title), h('div', { class: 'sub' }, h('a', { href: href('/rules/' + encodeURIComponent(one.rule_id)) }, one.rule_id), one.suppressed && ' · a signal, or folded', one.excepted && ` · excepted by ${one.excepted}`)),
      h('td', null, h('span', { class: 'name', title: subject(one.entity) }, tail(subject(one.entity), 44))),
      h('td', null, h('time', { datetime: seen, title: seen }, moment(seen, false)), h('div', { class: 'sub' }, ago(seen))),
      h('td', { class: 'num' }, number(one.event_count, 'count')),
      h('td', null, badge(one.triage_state && one.triage_state !== 'reopened' ? one.triage_state : one.status), one.triaged_by && one.triage_state !== 'reopened' && h('div', { class: 'sub' }, one.triaged_by)),
    )
  }

  const load = async () => {
    try {
      const { from, to } = asked(STANDARD)
      const answer = await get('/api/dashboard/findings', { from, to }, controller.signal)
      all = answer.findings
      draw()
      if (answer.is_cut) list.append(h('p', { class: 'cut' }, `The newest ${all.length}; a shorter range has the others.`))
    } catch (error) {
      if (error.name === 'AbortError') return
      fill(list, notice('error', error.message, error.hint, h('button', { type: 'button', onclick: load }, 'Try again')))
    }
  }
  load()

  const told = h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'told', checked: chosen('told') === 'all', onchange: (event) => set({ told: event.target.checked ? 'all' : null }) }), 'signals and exceptions')
  return {
    title: 'Findings',
    standard: STANDARD,
    element: h(
      'div',
      { class: 'page', id: 'findings' },
      h('div', { class: 'heading' }, h('h1', null, 'Findings'), count),
      toolbar({ standard: STANDARD, filters: false, onRefresh: load }),
      h(
        'div',
        { class: 'filters' },
        query,
        choice('severity', 'Any severity', SEVERITIES),
        choice('status', 'Open and resolved', ['open', 'resolved']),
        choice('triage', 'Any triage', ['untouched', 'acknowledged', 'false_positive', 'closed']),
        told,
        chosen('rule') && h('button', { type: 'button', class: 'token', onclick: () => set({ rule: null }) }, `rule ${chosen('rule')} ×`),
      ),
      list,
    ),
    refresh: load,
    search: () => query,
    items: () => [...list.querySelectorAll('tr.item')],
    open: (element) => element.querySelector('a.main')?.click(),
    leave: () => controller.abort(),
  }
}
