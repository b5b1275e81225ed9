// What the address says: the page, the range, the filters. The address is the only place where they are kept, so that a
// link shows what its sender saw.

import { page } from './api.js'

const HOUR = 3600e3

/** Ranges that one key or click away. */
export const RANGES = [
  ['1h', HOUR],
  ['6h', 6 * HOUR],
  ['24h', 24 * HOUR],
  ['7d', 168 * HOUR],
  ['30d', 720 * HOUR],
]

/** First and last event of the store, in milliseconds; set when boards are known. */
export const known = { first: null, last: null, boards: [], who: null }

const listeners = new Set()

export function onChange(listener) {
  listeners.add(listener)
}

export function here() {
  return { path: decodeURI(location.pathname), search: new URLSearchParams(location.search) }
}

/** Goes to an address of this page, keeping range and filters unless they are in it. */
export function go(path, { keep = true, replace = false, quiet = false } = {}) {
  const [bare, text] = path.split('?')
  const search = new URLSearchParams(text ?? '')
  if (keep) {
    for (const name of ['range', 'from', 'to', 'caller', 'model']) {
      const value = new URLSearchParams(location.search).get(name)
      const isRange = ['range', 'from', 'to'].includes(name)
      const hasRange = ['range', 'from', 'to'].some((other) => search.has(other))
      if (value && !search.has(name) && !(isRange && hasRange)) search.set(name, value)
    }
  }
  const query = search.toString()
  history[replace ? 'replaceState' : 'pushState'](null, '', query ? `${bare}?${query}` : bare)
  if (quiet) return
  for (const listener of listeners) listener()
}

/** Changes parameters of the address; without a value they go. */
export function set(parameters, options) {
  const { path, search } = here()
  for (const [name, value] of Object.entries(parameters)) {
    if (value === null || value === undefined || value === '') search.delete(name)
    else search.set(name, value)
  }
  const query = search.toString()
  go(query ? `${path}?${query}` : path, { keep: false, ...options })
}

/** A link inside of the dashboard. */
export function href(path) {
  const [bare, text] = path.split('?')
  const search = new URLSearchParams(text ?? '')
  const { search: now } = here()
  for (const name of ['range', 'from', 'to']) {
    if (now.get(name) && !['range', 'from', 'to'].some((other) => search.has(other) && other !== name)) {
      if (!search.has(name)) search.set(name, now.get(name))
    }
  }
  const query = search.toString()
  return query ? `${bare}?${query}` : bare
}

window.addEventListener('popstate', () => {
  for (const listener of listeners) listener()
})

/** Where a range without an end ends: now, or with the last event where the store has stood still for long. */
export function end() {
  const now = Date.now()
  if (known.last !== null && now - known.last > 2 * HOUR) return Math.ceil((known.last + 1) / 60e3) * 60e3
  // Whole half minutes, so that those who look at the same time ask the same.
  return Math.ceil(now / 30e3) * 30e3
}

/** Whether the range moves with the clock. */
export function isLive() {
  const { search } = here()
  return !page && !search.get('to') && (known.last === null || Date.now() - known.last <= 2 * HOUR)
}

/** The range that the address asks for, in milliseconds. */
export function range(standard = 24 * HOUR) {
  if (page) return { from: Date.parse(page.from), to: Date.parse(page.to), name: null }
  const { search } = here()
  const to = Date.parse(search.get('to') ?? '') || end()
  const from = Date.parse(search.get('from') ?? '')
  if (from && from < to) return { from, to, name: null }
  const name = search.get('range') ?? RANGES.find(([, length]) => length === standard)?.[0]
  const length = RANGES.find(([known]) => known === name)?.[1] ?? standard
  return { from: to - length, to, name: search.get('to') ? null : name }
}

/** The range and the filters as the server takes them. */
export function asked(standard) {
  const { from, to } = range(standard)
  const { search } = here()
  return {
    from: new Date(from).toISOString(),
    to: new Date(to).toISOString(),
    caller: search.get('caller'),
    model: search.get('model'),
  }
}

/** Something small that this browser remembers. */
export const memory = {
  get(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem('inferwatch.' + name)) ?? otherwise
    } catch {
      return otherwise
    }
  },
  set(name, value) {
    try {
      localStorage.setItem('inferwatch.' + name, JSON.stringify(value))
    } catch {
      // Without storage it is forgotten with the page.
    }
  },
}
