// A board: its panels in a grid, each asked for on its own.

import { page } from '../api.js'
import { h } from '../dom.js'
import { PanelCard } from '../panel.js'
import { isLive, known } from '../state.js'
import { toolbar } from '../toolbar.js'

/** How many panels are asked for at a time: the server has other work. */
const AT_A_TIME = 4

export function board(id) {
  const meta = known.boards.find((one) => one.id === id) ?? known.boards[0]
  const cards = meta.panels.map((panel) => new PanelCard(panel, meta))
  const controller = new AbortController()
  const load = async (list) => {
    const waiting = [...list]
    const worker = async () => {
      while (waiting.length > 0 && !controller.signal.aborted) await waiting.shift().load(controller.signal)
    }
    await Promise.all(Array.from({ length: AT_A_TIME }, worker))
  }
  load(cards)
  // What is not seen is not asked for.
  const due = new Map(cards.map((card) => [card, Date.now()]))
  const timer = setInterval(() => {
    if (document.hidden || !isLive()) return
    const now = Date.now()
    const late = cards.filter((card) => now - due.get(card) >= card.meta.refresh_seconds * 1000)
    for (const card of late) due.set(card, now)
    if (late.length > 0) load(late)
  }, 1000)
  return {
    title: meta.title,
    element: h(
      'div',
      { class: 'page board', id: 'board-' + meta.id },
      h('div', { class: 'heading' }, h('h1', null, meta.title), h('p', { class: 'muted' }, meta.description)),
      toolbar({ standard: meta.range_seconds * 1000, onRefresh: () => load(cards) }),
      h('div', { class: 'grid' }, cards.map((card) => card.element)),
      page && h('p', { class: 'muted foot' }, 'Written by inferwatch. Nothing on this page is loaded from elsewhere.'),
    ),
    standard: meta.range_seconds * 1000,
    refresh: () => load(cards),
    redraw: () => cards.forEach((card) => card.redraw()),
    items: () => cards.map((card) => card.element),
    open: (element) => element.panel?.openQuery(),
    leave: () => {
      controller.abort()
      clearInterval(timer)
      cards.forEach((card) => card.destroy())
    },
  }
}
