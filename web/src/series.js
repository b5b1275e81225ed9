// From the rows of an answer to what a chart draws: one list of times, and for each series a list of values.

/** Times in seconds, and series with a value for each of them, or null. */
export function shaped(panel, answer) {
  const at = (name) => answer.columns.findIndex((column) => column.name === name)
  const time = at('time')
  const step = answer.bucket_seconds
  const stamp = (row) => Math.round(Date.parse(row[time]) / 1000)
  const first = Math.floor(Date.parse(answer.from) / 1000 / step) * step
  const last = Date.parse(answer.to) / 1000
  const times = []
  for (let at = first; at < last; at += step) times.push(at)
  const places = new Map(times.map((time, place) => [time, place]))
  const wanted = panel.empty === 'zero' ? 0 : null
  const series = new Map()
  const of = (name, order) => {
    if (!series.has(name)) series.set(name, { name, order, values: new Array(times.length).fill(null), has: false })
    return series.get(name)
  }
  const put = (one, row, value) => {
    const place = places.get(stamp(row))
    if (place === undefined || value === null) return
    one.values[place] = value
    one.has = true
  }
  if (at('series') >= 0) {
    const [name, value, order] = [at('series'), at('value'), at('order')]
    for (const row of answer.rows) put(of(row[name], order >= 0 ? row[order] : 0), row, row[value])
    // The largest first; what is left over comes last.
    for (const one of series.values()) one.total = one.values.reduce((sum, value) => sum + (value ?? 0), 0)
  } else {
    answer.columns.forEach((column, place) => {
      if (place === time) return
      const one = of(column.name, place)
      for (const row of answer.rows) put(one, row, row[place])
      one.total = one.values.reduce((sum, value) => sum + (value ?? 0), 0)
    })
  }
  const list = [...series.values()].filter((one) => one.has)
  if (at('series') >= 0) {
    list.sort((a, b) => rest(a.name) - rest(b.name) || b.total - a.total || String(a.name).localeCompare(String(b.name)))
  }
  for (const one of list) one.values = one.values.map((value) => value ?? wanted)
  return { times, step, series: list, to: last, from: first, isNamed: at('series') >= 0 }
}

const rest = (name) => (/^\(.*\)$/.test(String(name)) ? 1 : 0)

/** Whether a series is what is left over. */
export const isRest = (name) => rest(name) === 1
