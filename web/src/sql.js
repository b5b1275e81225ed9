// SQL in colours, as text nodes.

import { h } from './dom.js'

const KEYWORDS = new Set(
  ('select from where and or not null is in as on join left right full inner outer cross group by order having limit offset union all distinct case when then else end with over partition rows range between unbounded preceding following current row filter within interval timestamp date cast true false desc asc nulls first last exists like ilike lateral values explain describe show tables using window').split(' '),
)

const PARTS = /(--[^\n]*|\/\*[\s\S]*?\*\/)|('(?:[^']|'')*')|("(?:[^"]|"")*")|(\$[A-Za-z_]\w*)|(\b\d+(?:\.\d+)?(?:[eE][-+]?\d+)?\b)|([A-Za-z_]\w*)/g

/** The text cut into pieces with a class each. */
export function pieces(text) {
  const out = []
  let before = 0
  for (const match of text.matchAll(PARTS)) {
    if (match.index > before) out.push([text.slice(before, match.index), null])
    const [all, comment, string, name, parameter, digits, word] = match
    const kind = comment ? 'comment' : string ? 'string' : name ? null : parameter ? 'parameter' : digits ? 'number' : word && KEYWORDS.has(word.toLowerCase()) ? 'keyword' : word && /^\s*\(/.test(text.slice(match.index + all.length)) ? 'function' : null
    out.push([all, kind])
    before = match.index + all.length
  }
  if (before < text.length) out.push([text.slice(before), null])
  return out
}

export const colored = (text) => pieces(text).map(([part, kind]) => (kind ? h('span', { class: 'sql-' + kind }, part) : part))

/** A block of SQL to read, with a button that copies it. */
export function code(text) {
  const copy = h('button', { type: 'button', class: 'copy' }, 'Copy')
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text)
      copy.textContent = 'Copied'
    } catch {
      copy.textContent = 'Select and copy'
    }
    setTimeout(() => (copy.textContent = 'Copy'), 1500)
  })
  return h('div', { class: 'code-box' }, copy, h('pre', { class: 'code', tabindex: 0 }, h('code', null, colored(text))))
}
