// A page for questions: an editor with colours, the answer as a table, and questions that this browser keeps.

import { post } from '../api.js'
import { h, fill, icon } from '../dom.js'
import { notice, skeleton } from '../panel.js'
import { here, memory, set } from '../state.js'
import { colored } from '../sql.js'
import { table } from '../table.js'

const FIRST = `SELECT caller, model, count(*) AS calls, sum(total_tokens) AS tokens, sum(cost_usd) AS cost_usd
FROM calls_merged
WHERE event_time >= (SELECT max(event_time) FROM calls) - INTERVAL '24 hours'
GROUP BY caller, model
ORDER BY calls DESC
LIMIT 50`

export function sql() {
  let controller = null
  const given = here().search.get('q')
  const area = h('textarea', { class: 'editor-text', spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off', 'aria-label': 'SQL', rows: 8 })
  area.value = given ?? memory.get('draft', FIRST)
  const shade = h('pre', { class: 'editor-shade', 'aria-hidden': 'true' })
  const answer = h('div', { class: 'answer' })
  const told = h('span', { class: 'muted', role: 'status' })
  const run = h('button', { type: 'button', class: 'primary', title: 'Ctrl+Enter' }, icon('play'), 'Run')
  const stop = h('button', { type: 'button', hidden: true }, 'Stop')
  const paint = () => {
    fill(shade, colored(area.value + '\n'))
    area.style.height = 'auto'
    area.style.height = Math.min(Math.max(area.scrollHeight, 150), 480) + 'px'
    shade.scrollTop = area.scrollTop
  }
  area.addEventListener('input', () => {
    paint()
    memory.set('draft', area.value)
  })
  area.addEventListener('scroll', () => {
    shade.scrollTop = area.scrollTop
    shade.scrollLeft = area.scrollLeft
  })
  area.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault()
      ask()
    }
    if (event.key === 'Escape') area.blur()
  })

  const ask = async () => {
    const text = area.value.trim().replace(/;\s*$/, '')
    if (!text) return
    controller?.abort()
    const mine = (controller = new AbortController())
    set({ q: text }, { replace: true, quiet: true })
    run.disabled = true
    stop.hidden = false
    fill(told, 'Running…')
    fill(answer, skeleton(5))
    const started = performance.now()
    try {
      const { columns, rows, more } = read(await post('/api/query', { sql: text }, mine.signal))
      fill(told, `${rows.length}${more ? ' and more' : ''} ${rows.length === 1 ? 'row' : 'rows'} in ${Math.round(performance.now() - started)} ms`)
      fill(answer, rows.length ? table(columns, rows, { label: 'Answer' }) : notice('empty', 'No rows', 'The query ran, and nothing met its conditions.'), more && h('p', { class: 'cut' }, 'There are more rows. Add a LIMIT or an aggregate, or ask by psql or the API.'))
    } catch (error) {
      if (error.name === 'AbortError') {
        if (mine === controller) fill(told, 'Stopped'), fill(answer)
      } else {
        fill(told)
        fill(answer, notice('error', error.message, error.hint))
      }
    } finally {
      if (mine === controller) {
        run.disabled = false
        stop.hidden = true
      }
    }
  }
  run.addEventListener('click', ask)
  stop.addEventListener('click', () => controller?.abort())

  const saved = h('ul', { class: 'saved' })
  const name = h('input', { placeholder: 'Name', 'aria-label': 'Name of the query', maxlength: 80 })
  const save = h(
    'form',
    {
      class: 'save',
      onsubmit: (event) => {
        event.preventDefault()
        const title = name.value.trim()
        if (!title) return name.focus()
        memory.set('queries', { ...memory.get('queries', {}), [title]: area.value })
        name.value = ''
        list()
      },
    },
    name,
    h('button', { type: 'submit' }, 'Save'),
  )
  const list = () => {
    const queries = memory.get('queries', {})
    const names = Object.keys(queries).sort()
    fill(
      saved,
      names.length === 0 && h('li', { class: 'muted' }, 'None yet. They are kept in this browser.'),
      names.map((title) =>
        h(
          'li',
          null,
          h(
            'button',
            {
              type: 'button',
              class: 'plain',
              onclick: () => {
                area.value = queries[title]
                paint()
                ask()
              },
            },
            title,
          ),
          h(
            'button',
            {
              type: 'button',
              class: 'plain',
              'aria-label': `Forget ${title}`,
              onclick: () => {
                const rest = { ...memory.get('queries', {}) }
                delete rest[title]
                memory.set('queries', rest)
                list()
              },
            },
            icon('close'),
          ),
        ),
      ),
    )
  }
  list()
  requestAnimationFrame(paint)
  if (given) ask()
  return {
    title: 'SQL',
    element: h(
      'div',
      { class: 'page', id: 'sql' },
      h('div', { class: 'heading' }, h('h1', null, 'SQL'), h('p', { class: 'muted' }, 'Read-only; your token says which tables and rows there are. Ctrl+Enter runs.')),
      h('div', { class: 'columns' }, h('div', { class: 'wide' }, h('div', { class: 'editor' }, shade, area), h('div', { class: 'actions' }, run, stop, told), answer), h('div', { class: 'narrow' }, h('section', { class: 'card' }, h('h2', null, 'Saved'), saved, save), h('section', { class: 'card' }, h('h2', null, 'Tables'), h('p', { class: 'prose' }, h('code', null, 'SHOW TABLES'), ' names them, ', h('code', null, 'DESCRIBE calls_merged'), ' the columns of one. Most questions are for ', h('code', null, 'calls_merged'), ', a row a call, ', h('code', null, 'findings_now'), ' and ', h('code', null, 'audit'), '.')))),
    ),
    search: () => area,
    leave: () => controller?.abort(),
  }
}

/** The server's answer as columns and rows, whichever way it has them. */
function read(body) {
  const rows = Array.isArray(body) ? body : body.rows ?? body.data ?? []
  const more = Boolean(body.more ?? body.is_cut ?? body.truncated)
  const named = (body.columns ?? body.schema ?? []).map((one) => (typeof one === 'string' ? { name: one } : one))
  const columns = named.length ? named : Object.keys(rows[0] ?? {}).map((name) => ({ name }))
  const isObjects = rows.length > 0 && !Array.isArray(rows[0])
  return { columns: columns.map(({ name }) => ({ name })), rows: isObjects ? rows.map((row) => columns.map(({ name }) => row[name] ?? null)) : rows, more }
}
