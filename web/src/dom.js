// Elements without HTML text: whatever comes from a log becomes a text node, and nothing else.

/** Makes an element. `attributes` are attributes, but `on…` are listeners and `class` may be a list. */
export function h(name, attributes, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value)
    else if (key === 'class') element.className = [value].flat().filter(Boolean).join(' ')
    else element.setAttribute(key, value === true ? '' : String(value))
  }
  add(element, children)
  return element
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue
    element.append(child instanceof Node ? child : document.createTextNode(String(child)))
  }
}

/** Replaces what is in an element. */
export function fill(element, ...children) {
  element.replaceChildren()
  add(element, children)
  return element
}

const SVG = 'http://www.w3.org/2000/svg'

/** A small line drawing of 16 by 16. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', '0 0 16 16')
  svg.setAttribute('class', 'icon')
  svg.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', ICONS[name])
  svg.append(path)
  return svg
}

const ICONS = {
  sun: 'M8 1v2M8 13v2M1 8h2M13 8h2M3.05 3.05l1.4 1.4M11.55 11.55l1.4 1.4M3.05 12.95l1.4-1.4M11.55 4.45l1.4-1.4M8 5a3 3 0 1 1 0 6a3 3 0 0 1 0-6',
  moon: 'M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z',
  help: 'M5.8 5.9a2.2 2.2 0 1 1 3.3 1.9c-.8.5-1.1.9-1.1 1.7M8 12v.4M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13',
  out: 'M6 2H3v12h3M7 8h7M11 5l3 3l-3 3',
  refresh: 'M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3',
  left: 'M10 3L5 8l5 5',
  right: 'M6 3l5 5l-5 5',
  code: 'M5 4L1.5 8L5 12M11 4l3.5 4L11 12M9.2 2.8L6.8 13.2',
  info: 'M8 7.2v4M8 4.8v.3M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13',
  alert: 'M8 2L1.5 13.5h13zM8 6.5v3.2M8 11.6v.3',
  close: 'M4 4l8 8M12 4l-8 8',
  play: 'M5 3l8 5l-8 5z',
  search: 'M7 2.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 0 1 0-9M10.3 10.3L14 14',
}
