// A finding: what, who, when, why; and what people make of it.

import { get, post } from '../api.js'
import { h, fill, icon } from '../dom.js'
import { ago, moment, number, subject, tail, words } from '../format.js'
import { notice, prose, skeleton } from '../panel.js'
import { go, href } from '../state.js'
import { badge, cell, table } from '../table.js'
import { code } from '../sql.js'
import { strip } from '../strip.js'

const ACTIONS = [
  ['acknowledged', 'Acknowledge', 'a', 'You look at it'],
  ['false_positive', 'False positive', 'p', 'It was right to look, and there was nothing'],
  ['closed', 'Close', 'c', 'It was dealt with'],
  ['reopened', 'Reopen', 'o', 'What was said no longer holds'],
]

export function finding(id) {
  const controller = new AbortController()
  const box = h('div', { class: 'page finding', id: 'finding' }, skeleton(8))
  let strips = []

  const load = async () => {
    try {
      draw(await get('/api/dashboard/findings/' + encodeURIComponent(id), null, controller.signal))
    } catch (error) {
      if (error.name === 'AbortError') return
      fill(box, h('div', { class: 'heading' }, h('h1', null, 'Finding')), notice('error', error.message, error.hint, h('button', { type: 'button', onclick: () => go('/findings') }, 'All findings')))
    }
  }

  const draw = (data) => {
    const one = data.finding
    const rule = data.rule
    const last = data.triage[0]
    const windows = strip(data.windows)
    strips = windows ? [windows] : []
    fill(
      box,
      h('a', { href: href('/findings'), class: 'back' }, '← Findings'),
      h(
        'div',
        { class: 'heading' },
        h('div', { class: 'badges' }, badge(one.severity), badge(one.status), last && last.state !== 'reopened' && badge(last.state), one.suppressed && badge('suppressed'), one.excepted && badge('excepted')),
        h('h1', null, one.title),
        h('p', { class: 'muted' }, h('a', { href: href('/rules/' + encodeURIComponent(one.rule_id)) }, one.rule_id), ` version ${one.rule_version} · `, h('code', null, one.finding_id)),
      ),
      h(
        'div',
        { class: 'columns' },
        h(
          'div',
          { class: 'wide' },
          section('What and who', facts(one)),
          evidence(one),
          section('Timeline of signals', timeline(data), windows && windows.element),
          events(data.events),
          rule && section('The rule', prose(rule.description), code(rule.sql)),
          !rule && section('The rule', notice('empty', 'This server does not have the rule any more')),
        ),
        h('div', { class: 'narrow' }, triage(data), rule && runbook(rule), related(data.related)),
      ),
    )
    strips.forEach((one) => one.fit())
  }

  const facts = (one) =>
    h(
      'dl',
      { class: 'facts' },
      Object.entries(one.entity ?? {}).map(([name, value]) => [h('dt', null, words(name)), h('dd', { class: 'name subject' }, value === null ? '–' : String(value))]),
      fact('First seen', moment(one.first_seen ?? one.window_start)),
      fact('Last seen', moment(one.last_seen ?? one.window_end), ago(one.last_seen ?? one.window_end)),
      fact('Events', number(one.event_count, 'count')),
      fact('Windows', `${one.windows} that fired, ${moment(one.first_window_end, false)} to ${moment(one.window_end, false)}`),
      one.score !== null && fact('Score', number(one.score)),
      fact('Confidence', one.confidence),
      one.folded > 0 && fact('Folded', `${one.folded} of the same subject that nobody was told of`),
      fact('ATLAS', (one.atlas ?? []).join(', ') || '–'),
      fact('OWASP', (one.owasp ?? []).join(', ') || '–'),
    )

  const fact = (name, value, more) => [h('dt', null, name), h('dd', null, value ?? '–', more && h('span', { class: 'muted' }, ' ' + more))]

  const evidence = (one) => {
    const hidden = new Set([...Object.keys(one.entity ?? {}), 'first_seen', 'last_seen', 'event_count', 'findings', 'severity', 'title'])
    const entries = Object.entries(one.evidence ?? {}).filter(([name, value]) => !hidden.has(name) && value !== null)
    if (entries.length === 0) return null
    return section('Evidence', h('dl', { class: 'facts' }, entries.map(([name, value]) => [h('dt', null, words(name)), h('dd', null, Array.isArray(value) ? value.map(String).join(', ') : cell(name, value))])))
  }

  /** What happened to the finding and what people said, in one line of time. */
  const timeline = (data) => {
    const steps = [
      ...data.revisions.map((one) => ({ at: one.window_end, kind: one.event, severity: one.severity, text: `${one.title}${one.event_count ? ` · ${number(one.event_count, 'count')} ${one.event_count === 1 ? 'event' : 'events'}` : ''}` })),
      ...data.related.filter((one) => isSignal(data.finding, one)).map((one) => ({ at: one.event_time, kind: 'signal', severity: one.severity, text: one.title, link: one.finding_id })),
    ].sort((a, b) => String(a.at).localeCompare(String(b.at)))
    return h(
      'ol',
      { class: 'timeline' },
      steps.map((step) => h('li', { class: ['sev-' + step.severity] }, h('time', { datetime: step.at }, moment(step.at, false)), h('b', null, step.kind), step.link ? h('a', { href: href('/findings/' + encodeURIComponent(step.link)) }, step.text) : h('span', null, step.text))),
    )
  }

  const isSignal = (one, other) => (one.evidence?.findings ?? []).includes(other.finding_id)

  const events = (found) => {
    if (!found) return section('Contributing events', notice('empty', 'The subject is no column of a table', 'The query of the rule shows how it came about.'))
    const open = h('button', { type: 'button', class: 'plain', onclick: () => go('/sql?q=' + encodeURIComponent(found.sql)) }, icon('code'), 'Open the query')
    const columns = found.columns.map((name) => ({ name }))
    return section(
      ['Contributing events', h('span', { class: 'muted' }, ` ${found.rows.length}${found.is_cut ? ' and more' : ''}`), h('span', { class: 'grow' }), open],
      found.rows.length ? table(columns, found.rows, { label: 'Contributing events' }) : notice('empty', 'They are not in the store any more', 'Retention may have removed them; what was found stays.'),
    )
  }

  const runbook = (rule) =>
    section(
      'Runbook',
      prose(rule.runbook ?? 'The rule has none.'),
      rule.false_positives.length > 0 && [h('h3', null, 'Known false positives'), h('ul', null, rule.false_positives.map((text) => h('li', null, text)))],
      rule.references.length > 0 && [h('h3', null, 'References'), h('ul', null, rule.references.map((text) => h('li', null, text)))],
    )

  const related = (list) => {
    if (list.length === 0) return null
    return section(
      'Same subject',
      h('ul', { class: 'related' }, list.map((one) => h('li', null, badge(one.severity), h('a', { href: href('/findings/' + encodeURIComponent(one.finding_id)) }, one.title), h('span', { class: 'sub' }, `${moment(one.event_time, false)} · ${tail(subject(one.entity), 30)}`)))),
    )
  }

  const triage = (data) => {
    const last = data.triage[0]
    const note = h('textarea', { rows: 3, maxlength: 4000, placeholder: 'A note: what you saw, what you did', 'aria-label': 'Note' })
    const told = h('p', { class: 'told', role: 'status' })
    const send = async (state, button) => {
      buttons.forEach((one) => (one.disabled = true))
      fill(told, 'Saving…')
      try {
        await post(`/api/findings/${encodeURIComponent(id)}/triage`, { state, note: note.value.trim() })
        await load()
      } catch (error) {
        fill(told, [error.message, error.hint].filter(Boolean).join(' '))
        buttons.forEach((one) => (one.disabled = false))
        button.focus()
      }
    }
    const now = last?.state ?? null
    const buttons = ACTIONS.filter(([state]) => (state === 'reopened' ? now && now !== 'reopened' : state !== now)).map(([state, label, key, why]) => {
      const button = h('button', { type: 'button', title: why, 'data-state': state, class: state === 'acknowledged' && 'primary' }, label)
      button.addEventListener('click', () => send(state, button))
      return button
    })
    return section(
      'Triage',
      last
        ? h('p', { class: 'now' }, badge(last.state), ` by ${last.who ?? 'somebody'}, ${moment(last.at, false)}`)
        : h('p', { class: 'muted' }, data.has_triage ? 'Nobody has said anything yet.' : 'Your token does not open what people said.'),
      note,
      h('div', { class: 'actions' }, buttons),
      told,
      data.triage.length > 0 && h('ol', { class: 'words' }, data.triage.map((one) => h('li', null, h('div', null, badge(one.state), h('span', { class: 'sub' }, ` ${one.who ?? 'somebody'} · ${moment(one.at)}`)), one.note && h('p', { class: 'prose' }, one.note)))),
    )
  }

  const section = (title, ...content) => h('section', { class: 'card' }, h('h2', null, title), content)

  load()
  return {
    title: 'Finding',
    element: box,
    refresh: load,
    redraw: () => strips.forEach((one) => one.redraw()),
    items: () => [...box.querySelectorAll('section.card')],
    leave: () => {
      controller.abort()
      strips.forEach((one) => one.destroy())
    },
  }
}
