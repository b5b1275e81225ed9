// The range and the filters of a page.

import { h, icon } from './dom.js'
import { range as rangeText } from './format.js'
import { RANGES, here, isLive, known, range, set } from './state.js'
import { page } from './api.js'

const local = (time) => new Date(time).toISOString().slice(0, 16)

/** Moves the range by its own length, to the left or to the right. */
export function shift(direction, standard) {
  const { from, to } = range(standard)
  const length = to - from
  set({ range: null, from: new Date(from + direction * length).toISOString(), to: new Date(to + direction * length).toISOString() })
}

/** The bar above a page. `filters` are those that the page has. */
export function toolbar({ standard, filters = true, onRefresh, extra }) {
  const now = range(standard)
  const text = `${rangeText(now.from, now.to)} UTC`
  if (page) {
    const told = [page.caller && `caller ${page.caller}`, page.model && `model ${page.model}`].filter(Boolean).join(', ')
    return h('div', { class: 'toolbar' }, h('strong', null, text), told && h('span', { class: 'muted' }, told))
  }
  const choice = h(
    'div',
    { class: 'segments', role: 'group', 'aria-label': 'Range' },
    RANGES.map(([name]) => h('button', { type: 'button', name: 'range-' + name, class: now.name === name && 'on', 'aria-pressed': String(now.name === name), onclick: () => set({ range: name, from: null, to: null }) }, name)),
  )
  const from = h('input', { type: 'datetime-local', value: local(now.from), 'aria-label': 'From, UTC' })
  const to = h('input', { type: 'datetime-local', value: local(now.to), 'aria-label': 'To, UTC' })
  const custom = h(
    'details',
    { class: 'custom' },
    h('summary', null, text),
    h(
      'form',
      {
        onsubmit: (event) => {
          event.preventDefault()
          const [a, b] = [from.value, to.value].map((value) => new Date(value + 'Z'))
          if (a < b) set({ range: null, from: a.toISOString(), to: b.toISOString() })
          else to.setCustomValidity('The end comes after the beginning'), to.reportValidity()
        },
      },
      h('label', null, 'From', from),
      h('label', null, 'To', to),
      h('button', { type: 'submit', class: 'primary' }, 'Show'),
      h('p', { class: 'muted' }, 'Times are UTC. Drag over a chart to look closer.'),
    ),
  )
  const live = isLive()
  const state = live
    ? h('span', { class: 'live', title: 'Panels ask again by themselves' }, 'live')
    : known.last !== null && !here().search.get('to')
      ? h('span', { class: 'stale', title: 'The range ends with the last event of the store' }, 'to the last event')
      : null
  return h(
    'div',
    { class: 'toolbar' },
    choice,
    h('div', { class: 'step' }, h('button', { type: 'button', name: 'earlier', title: 'Earlier  [', 'aria-label': 'Earlier', onclick: () => shift(-1, standard) }, icon('left')), h('button', { type: 'button', name: 'later', title: 'Later  ]', 'aria-label': 'Later', onclick: () => shift(1, standard) }, icon('right'))),
    custom,
    state,
    filters && [filter('caller', 'Caller'), filter('model', 'Model')],
    extra,
    h('span', { class: 'grow' }),
    onRefresh && h('button', { type: 'button', class: 'plain', title: 'Ask again  r', 'aria-label': 'Ask again', onclick: onRefresh }, icon('refresh')),
  )
}

function filter(name, label) {
  const value = here().search.get(name) ?? ''
  const input = h('input', { type: 'search', name, value, placeholder: label, 'aria-label': label, class: [value && 'on'], spellcheck: 'false', autocomplete: 'off' })
  input.addEventListener('change', () => set({ [name]: input.value.trim() }))
  return input
}
