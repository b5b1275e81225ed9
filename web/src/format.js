// Numbers, times and names as people read them. Times are UTC, as in the store.

const grouped = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 })

function fixed(value, digits) {
  return new Intl.NumberFormat('en-GB', { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value)
}

/** Three digits that matter, with k, M, G. */
function short(value, suffixes = ['', 'k', 'M', 'G', 'T'], base = 1000) {
  let size = Math.abs(value)
  let step = 0
  while (size >= base * 0.9995 && step < suffixes.length - 1) {
    size /= base
    step += 1
  }
  const digits = step === 0 && Number.isInteger(value) ? 0 : size >= 100 ? 0 : size >= 10 ? 1 : 2
  const text = fixed(size, digits)
  return `${value < 0 ? '−' : ''}${digits > 0 ? trimmed(text) : text}${suffixes[step] ? ' ' + suffixes[step] : ''}`
}

function trimmed(text) {
  return text.includes('.') ? text.replace(/0+$/, '').replace(/\.$/, '') : text
}

function duration(ms) {
  const size = Math.abs(ms)
  const sign = ms < 0 ? '−' : ''
  if (size < 1) return sign + trimmed(fixed(size, 2)) + ' ms'
  if (size < 1000) return sign + trimmed(fixed(size, size < 10 ? 1 : 0)) + ' ms'
  if (size < 60000) return sign + trimmed(fixed(size / 1000, size < 10000 ? 2 : 1)) + ' s'
  if (size < 3600000) return sign + trimmed(fixed(size / 60000, 1)) + ' min'
  return sign + trimmed(fixed(size / 3600000, 1)) + ' h'
}

function dollars(value) {
  const size = Math.abs(value)
  const sign = value < 0 ? '−$' : '$'
  if (size === 0) return '$0'
  if (size >= 10000) return sign + short(size)
  if (size >= 1) return sign + fixed(size, 2)
  return sign + (size >= 0.01 ? fixed(size, 3) : size.toPrecision(2))
}

/** A number in its unit. */
export function number(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–'
  switch (unit) {
    case 'count':
      return Math.abs(value) < 100000 ? (Number.isInteger(value) ? grouped.format(value) : trimmed(fixed(value, 2))) : short(value)
    case 'tokens':
      return short(value)
    case 'per_second':
      return short(value) + '/s'
    case 'per_minute':
      return short(value) + '/min'
    case 'per_hour':
      return short(value) + '/h'
    case 'usd':
      return dollars(value)
    case 'usd_per_hour':
      return dollars(value) + '/h'
    case 'ms':
      return duration(value)
    case 'seconds':
      return duration(value * 1000)
    case 'percent': {
      const percent = value * 100
      const near = percent > 99 && percent < 100
      return percentText(percent, near ? 2 : Math.abs(percent) < 10 ? 2 : 1) + ' %'
    }
    case 'times':
      return trimmed(fixed(value, Math.abs(value) < 10 ? 2 : 1)) + '×'
    case 'bytes':
      return short(value, ['B', 'KiB', 'MiB', 'GiB', 'TiB'], 1024)
    case 'bits':
      return trimmed(fixed(value, 2)) + ' bit'
    case 'p_value':
      return value === 0 ? '0' : value < 0.001 ? value.toExponential(1).replace('e-', 'e−') : value.toPrecision(2)
    default:
      return Math.abs(value) >= 100000 ? short(value) : trimmed(fixed(value, Math.abs(value) < 1 ? 4 : 2))
  }
}

function percentText(value, digits) {
  return trimmed(fixed(value, digits)).replace('-', '−')
}

/** For an axis: the same without what every tick would repeat. */
export function tick(value, unit) {
  if (value === null || value === undefined) return ''
  switch (unit) {
    case 'usd':
    case 'usd_per_hour':
      return value === 0 ? '$0' : value < 1 ? '$' + trimmed(value.toPrecision(2)) : '$' + short(value).replace(' ', '')
    case 'percent':
      return trimmed(fixed(value * 100, Math.abs(value) < 0.01 ? 2 : Math.abs(value) < 0.1 ? 1 : 0)) + ' %'
    case 'ms':
    case 'seconds':
      return value === 0 ? '0' : duration(unit === 'ms' ? value : value * 1000)
    case 'p_value':
      return value >= 0.01 ? String(Number(value.toPrecision(1))) : value.toExponential(0).replace('e-', 'e−')
    case 'times':
      return trimmed(fixed(value, 1)) + '×'
    case 'bits':
      return trimmed(fixed(value, 1))
    default:
      return short(value).replace(' ', '')
  }
}

/** The unit that a column of a table has by its name. */
export function unitOf(column) {
  if (/(_share|_rate)$/.test(column)) return 'percent'
  if (/(_ms|^duration)$/.test(column)) return 'ms'
  if (/(_usd|^cost)$/.test(column)) return 'usd'
  if (/_bytes$|^bytes$/.test(column)) return 'bytes'
  if (/tokens$/.test(column)) return 'tokens'
  return null
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const two = (value) => String(value).padStart(2, '0')

/** `14:05`, with seconds where asked for. */
export function clock(time, seconds = false) {
  return `${two(time.getUTCHours())}:${two(time.getUTCMinutes())}${seconds ? ':' + two(time.getUTCSeconds()) : ''}`
}

/** `2 Mar`, with the year unless it is this one. */
export function day(time) {
  const year = time.getUTCFullYear() === new Date().getUTCFullYear() ? '' : ` ${time.getUTCFullYear()}`
  return `${time.getUTCDate()} ${MONTHS[time.getUTCMonth()]}${year}`
}

/** `2 Mar 14:05:09`. */
export function moment(value, seconds = true) {
  if (!value) return '–'
  const time = new Date(value)
  return Number.isNaN(time.getTime()) ? String(value) : `${day(time)} ${clock(time, seconds)}`
}

/** `2 Mar 14:05 – 15:05`. */
export function range(from, to) {
  const a = new Date(from)
  const b = new Date(to)
  const same = a.toISOString().slice(0, 10) === b.toISOString().slice(0, 10)
  return `${day(a)} ${clock(a)} – ${same ? '' : day(b) + ' '}${clock(b)}`
}

/** A length of time in words: `15 min`, `1 h`. */
export function span(seconds) {
  if (seconds % 86400 === 0) return `${seconds / 86400} d`
  if (seconds % 3600 === 0) return `${seconds / 3600} h`
  if (seconds % 60 === 0) return `${seconds / 60} min`
  return `${seconds} s`
}

/** How long ago, roughly. */
export function ago(value, now = Date.now()) {
  const seconds = (now - new Date(value).getTime()) / 1000
  if (seconds < 90) return 'just now'
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`
  return `${Math.round(seconds / 86400)} d ago`
}

/** A name that is too long keeps its end, where principals differ; and says that it was cut. */
export function tail(name, length = 34) {
  const text = String(name)
  if (text.length <= length) return text
  const role = text.match(/(?:assumed-role|user|role)\/(.+)$/)
  if (role && role[1].length <= length) return '…' + role[1]
  // What differs of an address is before its `@`.
  const at = text.indexOf('@')
  if (at > 0 && at < length - 4) return text.slice(0, length - 1) + '…'
  return '…' + text.slice(-(length - 1))
}

/** The subject of a finding: its values, one after another. */
export function subject(entity) {
  if (typeof entity === 'string' && entity.startsWith('{')) {
    try {
      return subject(JSON.parse(entity))
    } catch {
      return entity
    }
  }
  if (!entity || typeof entity !== 'object') return entity ? String(entity) : '–'
  return Object.values(entity)
    .filter((value) => value !== null)
    .map(String)
    .join(' · ')
}

/** A word of the store for people: `false_positive` is `false positive`. */
export function words(text) {
  return String(text ?? '').replaceAll('_', ' ')
}
