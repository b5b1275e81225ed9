// The colours of charts. They are custom properties of the style sheet, so that both themes are in one place.

import { isRest } from './series.js'

const root = document.documentElement

export function color(name) {
  return getComputedStyle(root).getPropertyValue('--' + name).trim()
}

const SEVERITIES = ['critical', 'high', 'medium', 'low', 'info']
const STATES = { fired: 'critical', error: 'high', clear: 'ok', learning: 'low', not_covered: 'faint', frozen: 'info', gap: 'medium' }
export const SERIES = 8

/** The colour of each series: severities and states have their own, what is left over is grey. */
export function colors(names) {
  let next = 0
  return names.map((name) => {
    if (SEVERITIES.includes(name)) return color('sev-' + name)
    if (STATES[name]) return color(STATES[name] === 'ok' || STATES[name] === 'faint' ? STATES[name] : 'sev-' + STATES[name])
    if (isRest(name)) return color('series-rest')
    next += 1
    return color('series-' + (((next - 1) % SERIES) + 1))
  })
}

/** A colour with less of itself. */
export function faded(value, alpha) {
  const hex = value.replace('#', '')
  const part = (at) => parseInt(hex.slice(at, at + 2), 16)
  return `rgba(${part(0)}, ${part(2)}, ${part(4)}, ${alpha})`
}
