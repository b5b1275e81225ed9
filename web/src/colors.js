// The colours of charts. They are custom properties of the style sheet, so that both themes are in one place.

import { isRest } from './series.js'

const root = document.documentElement

export function color(name) {
  return getComputedStyle(root).getPropertyValue('--' + name).trim()
}

const SEVERITIES = ['critical', 'high', 'medium', 'low', 'info']
const STATES = { fired: 'critical', error: 'high', clear: 'ok', learning: 'low', not_covered: 'faint', frozen: 'info', gap: 'medium' }
export const SERIES = 8

/** The colour that a series has by what it is: severities and states have their own, what is left over is grey. */
function own(name) {
  if (SEVERITIES.includes(name)) return color('sev-' + name)
  const state = STATES[String(name).replaceAll(' ', '_')]
  if (state) return color(state === 'ok' || state === 'faint' ? state : 'sev-' + state)
  return isRest(name) ? color('series-rest') : null
}

/**
 * The colour of each series. Names of the data have theirs by the name, so that one model has the same in every chart and
 * after every look, unless another of the chart has it already; columns of a query have theirs in order.
 */
export function colors(names, isNamed = false) {
  const others = names.filter((name) => own(name) === null)
  const places = new Map(others.map((name, place) => [name, place % SERIES]))
  if (isNamed && others.length > 1) {
    const taken = new Set()
    for (const name of [...others].sort()) {
      let place = wanted(name)
      while (taken.has(place) && taken.size < SERIES) place = (place + 1) % SERIES
      taken.add(place)
      places.set(name, place)
    }
  }
  return names.map((name) => own(name) ?? color('series-' + (places.get(name) + 1)))
}

function wanted(name) {
  let sum = 0
  for (const letter of String(name)) sum = (sum * 31 + letter.codePointAt(0)) >>> 0
  return sum % SERIES
}

/** A colour with less of itself. */
export function faded(value, alpha) {
  const hex = value.replace('#', '')
  const part = (at) => parseInt(hex.slice(at, at + 2), 16)
  return `rgba(${part(0)}, ${part(2)}, ${part(4)}, ${alpha})`
}
