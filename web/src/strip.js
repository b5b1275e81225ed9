// How the windows of a rule ended, one after another, as a strip.

import { color, colors } from './colors.js'
import { h } from './dom.js'
import { moment, words } from './format.js'

const ORDER = ['fired', 'error', 'gap', 'frozen', 'learning', 'not_covered', 'clear']

/** A strip of windows, each with its end and its state; nothing without windows. */
export function strip(windows) {
  if (!windows || windows.length === 0) return null
  const canvas = h('canvas', { class: 'strip', role: 'img', 'aria-label': 'How each window of the rule ended' })
  const first = Date.parse(windows[0].window_end)
  const last = Date.parse(windows[windows.length - 1].window_end)
  const states = ORDER.filter((state) => windows.some((one) => one.state === state))
  const legend = h('div', { class: 'legend' })
  const element = h('div', { class: 'strip-box' }, canvas, h('div', { class: 'strip-ends' }, h('span', null, moment(windows[0].window_end, false)), h('span', null, moment(windows[windows.length - 1].window_end, false))), legend)
  const draw = () => {
    const width = element.clientWidth
    if (!width) return
    const ratio = devicePixelRatio
    canvas.width = width * ratio
    canvas.height = 26 * ratio
    const context = canvas.getContext('2d')
    const palette = new Map(ORDER.map((state, place) => [state, colors(ORDER)[place]]))
    const part = canvas.width / windows.length
    context.fillStyle = color('sunken')
    context.fillRect(0, 0, canvas.width, canvas.height)
    windows.forEach((one) => {
      const x = last > first ? ((Date.parse(one.window_end) - first) / (last - first)) * (canvas.width - Math.max(part, 1)) : 0
      const isLoud = one.state !== 'clear'
      context.fillStyle = palette.get(one.state) ?? color('faint')
      const height = isLoud ? canvas.height : canvas.height * 0.4
      context.fillRect(Math.floor(x), canvas.height - height, Math.max(ratio, part - (part > 4 ? ratio : 0)), height)
    })
    legend.replaceChildren(
      ...states.map((state) => {
        const swatch = h('span', { class: 'swatch' })
        swatch.style.background = palette.get(state)
        return h('span', { class: 'chip' }, swatch, h('span', { class: 'chip-name' }, words(state)), h('span', { class: 'chip-value' }, windows.filter((one) => one.state === state).length))
      }),
    )
  }
  const observer = new ResizeObserver(draw)
  observer.observe(element)
  return { element, fit: draw, redraw: draw, destroy: () => observer.disconnect() }
}
