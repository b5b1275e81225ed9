// The frame: which page is shown, the bar above it, light and dark.

import { get, page as standing } from './api.js'
import { h, fill, icon } from './dom.js'
import { help, listen, pages } from './keys.js'
import { notice } from './panel.js'
import { board } from './pages/board.js'
import { finding } from './pages/finding.js'
import { findings } from './pages/findings.js'
import { rule } from './pages/rule.js'
import { rules } from './pages/rules.js'
import { sql } from './pages/sql.js'
import { go, here, href, known, memory, onChange } from './state.js'
import { shift } from './toolbar.js'

const dark = matchMedia('(prefers-color-scheme: dark)')
let current = null

function applyTheme() {
  const chosen = memory.get('theme', null)
  document.documentElement.dataset.theme = chosen ?? (dark.matches ? 'dark' : 'light')
}

function switchTheme() {
  const next = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'
  memory.set('theme', next === (dark.matches ? 'dark' : 'light') ? null : next)
  applyTheme()
  // What is drawn on a canvas has its colours in it.
  current?.redraw?.()
}

dark.addEventListener('change', () => {
  applyTheme()
  current?.redraw?.()
})

const main = h('main', { id: 'main', tabindex: -1 })
const nav = h('nav', { 'aria-label': 'Pages' })

function frame() {
  const theme = h('button', { type: 'button', class: 'plain', title: 'Light or dark  t', 'aria-label': 'Light or dark', onclick: switchTheme }, icon('sun'))
  const keys = h('button', { type: 'button', class: 'plain', title: 'Keyboard  ?', 'aria-label': 'Keyboard', onclick: help }, icon('help'))
  const out = h('form', { method: 'post', action: '/logout' }, h('button', { type: 'submit', class: 'plain', title: 'Sign out', 'aria-label': 'Sign out' }, icon('out')))
  const brand = h('a', { class: 'brand', href: standing ? null : '/', title: 'inferwatch' }, mark(), h('span', null, 'inferwatch'))
  fill(document.body, standing ? null : h('a', { class: 'skip', href: '#main', onclick: (event) => (event.preventDefault(), main.focus()) }, 'To the page'), h('header', { class: 'top' }, brand, nav, h('span', { class: 'grow' }), theme, standing ? null : [keys, out]), main)
}

function mark() {
  const svg = icon('search')
  svg.setAttribute('class', 'mark')
  svg.setAttribute('viewBox', '0 0 16 16')
  svg.firstChild.setAttribute('d', 'M1 9.5h3l2-6l3.5 10l2-6H15')
  return svg
}

function drawNav() {
  if (standing) return
  const { path } = here()
  const first = known.boards[0] && '/boards/' + known.boards[0].id
  fill(
    nav,
    pages().map(([, title, to]) => h('a', { href: href(to), 'aria-current': path.startsWith(to) || (path === '/' && to === first) ? 'page' : null }, title)),
  )
  nav.querySelector('[aria-current]')?.scrollIntoView?.({ block: 'nearest', inline: 'nearest' })
}

function pageOf(path) {
  // The address of a file says where somebody put it.
  if (standing) return board(standing.board.id)
  const [, kind, name] = path.split('/')
  if (kind === 'findings') return name ? finding(name) : findings()
  if (kind === 'rules') return name ? rule(name) : rules()
  if (kind === 'sql') return sql()
  if (kind === 'boards' || !kind) return board(name)
  return { title: 'Nothing here', element: h('div', { class: 'page' }, notice('empty', 'There is no such page', null, h('button', { type: 'button', onclick: () => go('/') }, 'To the first board'))) }
}

function show() {
  const name = document.activeElement?.getAttribute?.('name')
  const isFirst = current === null
  current?.leave?.()
  current = pageOf(here().path)
  document.title = `${current.title} · inferwatch`
  fill(main, current.element)
  drawNav()
  if (isFirst) return
  // Who moves by keyboard goes on where they were, or at the beginning of the page.
  if (name) main.querySelector(`[name="${CSS.escape(name)}"]`)?.focus({ preventScroll: true })
  if (document.activeElement === document.body) main.focus({ preventScroll: true })
}

/** What is open over the page is closed by a click elsewhere. */
function closeOthers(event) {
  for (const open of document.querySelectorAll('details[open]')) if (!open.contains(event.target)) open.open = false
}

/** Links inside go without loading a page. */
function follow(event) {
  const link = event.target.closest?.('a[href]')
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return
  if (link.origin !== location.origin || link.hash) return
  event.preventDefault()
  go(link.pathname + link.search, { keep: false })
  scrollTo(0, 0)
}

async function start() {
  applyTheme()
  frame()
  document.addEventListener('click', closeOthers)
  if (standing) {
    known.boards = [standing.board]
    return show()
  }
  onChange(show)
  document.addEventListener('click', follow)
  listen(() => current ?? {}, { theme: switchTheme, help, shift: (by) => current?.standard && shift(by, current.standard) })
  try {
    const answer = await get('/api/boards')
    known.boards = answer.boards
    known.first = answer.first ? Date.parse(answer.first) : null
    known.last = answer.last ? Date.parse(answer.last) : null
    show()
  } catch (error) {
    fill(main, h('div', { class: 'page' }, notice('error', error.message, error.hint, h('button', { type: 'button', onclick: () => location.reload() }, 'Try again'))))
  }
}

start()
