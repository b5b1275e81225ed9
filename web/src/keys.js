// The keyboard: one letter moves, `g` and a letter goes, `?` shows all of it.

import { h } from './dom.js'
import { go, known } from './state.js'

const isTyping = (element) => element.closest('input, textarea, select, [contenteditable]') !== null

/** Letters after `g`. The boards take their first letters. */
export function pages() {
  const taken = new Set(['f', 'u', 'q'])
  const boards = known.boards.map((board) => {
    const letter = [...board.id].find((letter) => !taken.has(letter)) ?? ''
    taken.add(letter)
    return [letter, board.title, '/boards/' + board.id]
  })
  return [...boards, ['f', 'Findings', '/findings'], ['u', 'Rules', '/rules'], ['q', 'SQL', '/sql']]
}

/** Listens for keys. `current` is the page that is shown, `act` what the frame can do. */
export function listen(current, act) {
  let isGoing = false
  let timer = null
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === 'Escape') {
      document.querySelector('dialog[open]')?.close()
      for (const open of document.querySelectorAll('details[open]')) {
        const isInside = open.contains(document.activeElement)
        open.open = false
        if (isInside) return open.querySelector('summary').focus()
      }
      if (isTyping(event.target)) event.target.blur()
      return
    }
    if (isTyping(event.target) || document.querySelector('dialog[open]')) return
    if (isGoing) {
      isGoing = false
      clearTimeout(timer)
      const found = pages().find(([letter]) => letter === event.key)
      if (found) {
        event.preventDefault()
        go(found[2])
      }
      return
    }
    const page = current()
    const keys = {
      g: () => {
        isGoing = true
        timer = setTimeout(() => (isGoing = false), 1200)
      },
      '/': () => (page.search?.() ?? document.querySelector('.toolbar input[type=search]'))?.focus(),
      j: () => move(page, 1),
      k: () => move(page, -1),
      o: () => open(page),
      r: () => page.refresh?.(),
      t: () => act.theme(),
      '[': () => act.shift(-1),
      ']': () => act.shift(1),
      '?': () => act.help(),
    }
    if (event.key === 'Enter' && event.target.matches('.panel, tr.item')) return void open(page)
    const key = keys[event.key]
    if (!key) return
    event.preventDefault()
    key()
  })
}

function move(page, by) {
  const items = page.items?.() ?? []
  if (items.length === 0) return
  const at = items.findIndex((item) => item.contains(document.activeElement))
  const next = at < 0 ? (by > 0 ? 0 : items.length - 1) : Math.min(items.length - 1, Math.max(0, at + by))
  items[next].setAttribute('tabindex', '-1')
  items[next].focus()
  items[next].scrollIntoView({ block: 'nearest' })
}

function open(page) {
  const item = (page.items?.() ?? []).find((item) => item.contains(document.activeElement))
  if (item) page.open?.(item)
}

/** What `?` shows. */
export function help() {
  const line = (keys, text) => [h('dt', null, keys.map((key) => h('kbd', null, key))), h('dd', null, text)]
  const dialog = h(
    'dialog',
    { class: 'help', 'aria-label': 'Keyboard' },
    h('h2', null, 'Keyboard'),
    h(
      'dl',
      null,
      pages().map(([letter, title]) => line(['g', letter], title)),
      line(['/'], 'Search, or filter'),
      line(['j'], 'Next panel or row'),
      line(['k'], 'The one before'),
      line(['←', '→', '↑', '↓'], 'Through a chart; Enter opens what is behind'),
      line(['o'], 'Open it: its query, or its page'),
      line(['['], 'Earlier'),
      line([']'], 'Later'),
      line(['r'], 'Ask again'),
      line(['t'], 'Light or dark'),
      line(['Esc'], 'Close'),
    ),
    h('form', { method: 'dialog' }, h('button', { class: 'primary' }, 'Close')),
  )
  dialog.addEventListener('close', () => dialog.remove())
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close())
  document.body.append(dialog)
  dialog.showModal()
}
