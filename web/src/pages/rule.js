// A rule: what it looks for, how its windows ended, what was passed over, what it found.

import { get } from '../api.js'
import { Chart } from '../chart.js'
import { h, fill } from '../dom.js'
import { moment, subject, words } from '../format.js'
import { notice, prose, skeleton } from '../panel.js'
import { asked, go, href } from '../state.js'
import { code } from '../sql.js'
import { badge, table } from '../table.js'
import { toolbar } from '../toolbar.js'

const STANDARD = 86400e3

export function rule(id) {
  const controller = new AbortController()
  const box = h('div', null, skeleton(8))
  let chart = null
  const load = async () => {
    try {
      const { from, to } = asked(STANDARD)
      draw(await get('/api/dashboard/rules/' + encodeURIComponent(id), { from, to }, controller.signal))
    } catch (error) {
      if (error.name !== 'AbortError') fill(box, notice('error', error.message, error.hint, h('button', { type: 'button', onclick: () => go('/rules') }, 'All rules')))
    }
  }
  const section = (title, ...content) => h('section', { class: 'card' }, h('h2', null, title), content)
  const pick = (names) => (row) => names.map((name) => row[name] ?? null)

  const draw = (data) => {
    const { rule } = data
    chart?.destroy()
    const panel = { chart: 'stacked', unit: 'count', empty: 'zero', thresholds: [], scale: 'linear' }
    const answer = {
      from: data.from,
      to: data.to,
      bucket_seconds: data.bucket_seconds,
      columns: ['time', 'series', 'value'].map((name) => ({ name })),
      rows: data.windows.map((row) => [row.time, words(row.series), row.value]),
    }
    chart = data.windows.length ? new Chart(panel, answer, { height: 150, sync: 'rule' }) : null
    const states = ['window_end', 'state', 'findings', 'elapsed_ms', 'detail']
    const gaps = ['window_start', 'window_end', 'detail', 'late_dropped']
    const found = ['event_time', 'severity', 'title', 'entity', 'event_count', 'status']
    const lists = [
      ['False positives', rule.false_positives],
      ['Blind spots', rule.evasion],
      ['References', rule.references],
    ].filter(([, list]) => list.length > 0)
    fill(
      box,
      h(
        'div',
        { class: 'columns' },
        h(
          'div',
          { class: 'wide' },
          section('Windows', chart ? chart.element : notice('empty', 'It has not looked at this range', 'inferwatch run evaluates it; status says how far it has come.')),
          section(
            'Findings',
            data.findings.length
              ? table(
                  found.map((name) => ({ name })),
                  data.findings.map((row) => Object.assign(pick(found)({ ...row, entity: subject(row.entity) }), { id: row.finding_id })),
                  { label: 'Findings', onRow: (row) => go('/findings/' + encodeURIComponent(row.id)) },
                )
              : notice('empty', 'None in this range'),
          ),
          section('Gaps', data.gaps.length ? table(gaps.map((name) => ({ name })), data.gaps.map(pick(gaps)), { label: 'Gaps' }) : h('p', { class: 'muted' }, 'None: no window of this range was passed over.')),
          section('Windows that were not clear', data.details.length ? table(states.map((name) => ({ name })), data.details.map(pick(states)), { label: 'Windows' }) : h('p', { class: 'muted' }, 'None.')),
          section('Query', code(rule.sql)),
        ),
        h(
          'div',
          { class: 'narrow' },
          section('What it looks for', prose(rule.description)),
          section('Runbook', prose(rule.runbook ?? 'It has none.')),
          section(
            'How it runs',
            h(
              'dl',
              { class: 'facts' },
              [
                ['Window', rule.window],
                ['Every', rule.every],
                ['Baseline', rule.baseline],
                ['Reads', rule.source.join(', ')],
                ['Subject', rule.entity.join(', ')],
                ['Confidence', rule.confidence],
                ['ATLAS', rule.atlas.join(', ')],
                ['OWASP', rule.owasp.join(', ')],
                ['File', rule.path],
              ]
                .filter(([, value]) => value)
                .map(([name, value]) => [h('dt', null, name), h('dd', { class: 'name' }, value)]),
            ),
          ),
          rule.params.length > 0 && section('Parameters', h('dl', { class: 'params' }, rule.params.map((param) => [h('dt', null, h('code', null, param.name), ' ', h('b', null, JSON.stringify(param.default))), h('dd', null, param.doc)]))),
          lists.map(([title, list]) => section(title, h('ul', null, list.map((text) => h('li', null, text))))),
        ),
      ),
    )
    fill(heading, h('div', { class: 'badges' }, badge(rule.severity), badge(rule.status)), h('h1', null, rule.title), h('p', { class: 'muted' }, h('code', null, rule.rule_id), ` version ${rule.version} · `, h('a', { href: href('/findings?rule=' + encodeURIComponent(id)) }, 'its findings'), data.findings[0] && ` · last ${moment(data.findings[0].event_time, false)}`))
    chart?.fit()
  }
  const heading = h('div', { class: 'heading' }, h('h1', null, id))
  load()
  return {
    title: id,
    standard: STANDARD,
    element: h('div', { class: 'page', id: 'rule' }, h('a', { href: href('/rules'), class: 'back' }, '← Rules'), heading, toolbar({ standard: STANDARD, filters: false, onRefresh: load }), box),
    refresh: load,
    redraw: () => chart?.redraw(),
    items: () => [...box.querySelectorAll('section.card')],
    leave: () => {
      controller.abort()
      chart?.destroy()
    },
  }
}
