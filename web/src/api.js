// Asks the server. On a page that was written to a file there is none: its data stands in the page.

const standing = document.getElementById('page-data')

/** The data of a page that was written to a file, else nothing. */
export const page = standing ? JSON.parse(standing.textContent) : null

/** What went wrong, with a hint where the server has one. */
export class Trouble extends Error {
  constructor(message, hint, status) {
    super(message)
    this.hint = hint
    this.status = status
  }
}

async function ask(path, options = {}) {
  let response
  try {
    response = await fetch(path, { credentials: 'same-origin', ...options })
  } catch (error) {
    if (error.name === 'AbortError') throw error
    throw new Trouble('The server does not answer.', 'It may be restarting; this page asks again by itself.')
  }
  if (response.status === 401) {
    // The server shows the form to whoever comes without a session.
    location.reload()
    throw new Trouble('The session is over.', 'Sign in again.', 401)
  }
  const text = await response.text()
  let body = null
  try {
    body = text ? JSON.parse(text) : null
  } catch {
    if (response.ok) throw new Trouble('The answer cannot be read.', null, response.status)
  }
  if (!response.ok) {
    const message = body?.detail ?? body?.title ?? body?.error ?? `The server answered ${response.status}.`
    throw new Trouble(message, body?.hint, response.status)
  }
  return body
}

/** A path with its parameters; those without a value are left out. */
export function address(path, parameters) {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== null && value !== undefined && value !== '') search.set(name, value)
  }
  const text = search.toString()
  return text ? `${path}?${text}` : path
}

export const get = (path, parameters, signal) => ask(address(path, parameters), { signal })

export const post = (path, body, signal) =>
  ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal })
