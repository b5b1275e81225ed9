// Charts over time, drawn by uPlot: lines by its own paths, bars and cells by hooks of ours, thresholds over them.

import uPlot from 'uplot'
import { color, colors, faded } from './colors.js'
import { h, fill } from './dom.js'
import { clock, day, number, span, tail, tick } from './format.js'
import { shaped } from './series.js'

const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC')
const two = (value) => String(value).padStart(2, '0')

/** Steps of an axis on which there is nothing between whole numbers. */
const WHOLE = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat()

/** Hours, and the day where a new one begins. */
function timeTicks(plot, ticks) {
  let before = null
  const range = plot.scales.x.max - plot.scales.x.min
  return ticks.map((seconds) => {
    const time = new Date(seconds * 1000)
    const date = day(time)
    const isNew = before !== null && date !== before
    before = date
    if (range > 4 * 86400) return date
    const text = range < 600 ? clock(time, true) : `${two(time.getUTCHours())}:${two(time.getUTCMinutes())}`
    return isNew ? date : text
  })
}

/** A chart in a box: draws, follows the width, tells what is under the pointer, and hands clicks on. */
export class Chart {
  constructor(panel, answer, { onPick, height = 190, sync = 'board' }) {
    this.panel = panel
    this.data = shaped(panel, answer)
    this.onPick = onPick
    this.height = height
    this.sync = sync
    this.hidden = new Set()
    this.tall = height
    this.canvas = h('div', { class: 'chart-canvas', tabindex: 0, role: 'group', 'aria-label': this.describe(), onkeydown: (event) => this.press(event), onblur: () => this.leave() })
    this.canvas.style.minHeight = height + 'px'
    this.tip = h('div', { class: 'tip', hidden: true, role: 'status' })
    this.legend = h('div', { class: 'legend' })
    this.element = h('div', { class: 'chart' }, this.canvas, this.legend, this.tip)
    this.width = 0
    this.observer = new ResizeObserver(() => this.fit())
    this.observer.observe(this.canvas)
  }

  get isEmpty() {
    return this.data.series.length === 0
  }

  /** As large as its box, which is as high as what stands beside it. */
  fit() {
    const [width, tall] = [Math.floor(this.canvas.clientWidth), Math.max(this.height, Math.floor(this.canvas.clientHeight))]
    if (width < 40 || (width === this.width && tall === this.tall)) return
    this.width = width
    this.tall = tall
    if (this.plot) this.plot.setSize({ width, height: tall })
    else this.draw()
  }

  /** Draws anew, as in another theme. */
  redraw() {
    this.plot?.destroy()
    this.plot = null
    if (this.width > 0) this.draw()
  }

  destroy() {
    this.observer.disconnect()
    this.plot?.destroy()
    this.plot = null
  }

  get isStacked() {
    return this.panel.chart === 'stacked'
  }

  get isBars() {
    return this.isStacked || this.panel.chart === 'bar'
  }

  get isHeat() {
    return this.panel.chart === 'heat'
  }

  visible() {
    return this.data.series.filter((one) => !this.hidden.has(one.name))
  }

  draw() {
    const { panel, data } = this
    this.colors = new Map()
    const list = colors(data.series.map((one) => one.name), data.isNamed)
    data.series.forEach((one, place) => this.colors.set(one.name, list[place]))
    if (this.isHeat) this.classes = [...data.series].sort((a, b) => a.order - b.order)
    const axis = color('axis')
    const grid = { stroke: color('grid'), width: 1 }
    const font = '11px ' + color('font-sans')
    const common = { stroke: axis, font, ticks: { show: false }, grid }
    const isLog = panel.scale === 'log'
    const options = {
      width: this.width,
      height: this.tall,
      tzDate: utc,
      padding: [8, 18, 0, 0],
      cursor: {
        sync: { key: this.sync, setSeries: false },
        points: { show: !this.isBars && !this.isHeat, size: 6 },
        y: false,
        drag: { x: true, y: false, setScale: false },
      },
      select: { show: true },
      legend: { show: false },
      scales: {
        x: { time: true, range: () => [data.from, Math.max(data.to, data.from + data.step)] },
        y: isLog ? { distr: 3, log: 10, range: () => this.extentLog() } : { range: () => this.extent() },
      },
      axes: [
        { ...common, size: 27, gap: 7, space: 64, values: timeTicks, grid: { show: false } },
        {
          ...common,
          size: (plot, values) => this.axisSize(plot, values, font),
          gap: 6,
          space: 28,
          ...(this.isHeat ? this.heatAxis() : {}),
          ...(isLog ? { splits: () => this.logSplits(), filter: (plot, splits) => splits } : {}),
          ...(panel.unit === 'count' && this.isWhole() ? { incrs: WHOLE } : {}),
          ...(this.isHeat ? {} : { values: (plot, ticks) => ticks.map((value) => tick(value, panel.unit)) }),
        },
      ],
      series: [{}, ...data.series.map((one) => this.seriesOptions(one))],
      hooks: {
        drawAxes: [(plot) => this.drawCells(plot)],
        draw: [(plot) => this.drawThresholds(plot)],
        setCursor: [(plot) => this.point(plot)],
        setSelect: [(plot) => this.select(plot)],
        ready: [(plot) => this.listen(plot)],
      },
    }
    this.plot = new uPlot(options, [data.times, ...data.series.map((one) => one.values)], this.canvas)
    this.drawLegend()
  }

  seriesOptions(one) {
    const stroke = this.colors.get(one.name)
    if (this.isBars || this.isHeat) return { show: !this.hidden.has(one.name), paths: () => null, points: { show: false }, stroke }
    // One value between two gaps has no line, and three have one that is overlooked: they get points.
    const alone = []
    let run = []
    for (let at = 0; at <= one.values.length; at += 1) {
      if ((one.values[at] ?? null) !== null) run.push(at)
      else {
        if (run.length <= 3) alone.push(...run)
        run = []
      }
    }
    return {
      show: !this.hidden.has(one.name),
      stroke,
      width: 1.6,
      spanGaps: false,
      points: { show: alone.length > 0, size: 5, fill: stroke, filter: () => alone },
    }
  }

  isWhole() {
    return this.data.series.every((one) => one.values.every((value) => value === null || Number.isInteger(value)))
  }

  axisSize(plot, values, font) {
    if (!values) return 40
    const context = plot.ctx
    context.save()
    context.font = font.replace('11px', 11 * devicePixelRatio + 'px')
    const widest = Math.max(...values.map((value) => context.measureText(value ?? '').width))
    context.restore()
    return Math.max(34, Math.ceil(widest / devicePixelRatio) + 14)
  }

  heatAxis() {
    const rows = this.classes
    return {
      splits: () => rows.map((_, place) => place + 0.5),
      values: () => rows.map((one) => String(one.name)),
      grid: { show: false },
      size: 96,
    }
  }

  /** From zero, up to what is drawn, and to thresholds that are near enough to matter. */
  extent() {
    if (this.isHeat) return [0, Math.max(1, this.classes?.length ?? 1)]
    let [low, high] = [0, 0]
    const shown = this.visible()
    for (let at = 0; at < this.data.times.length; at += 1) {
      if (this.isStacked) {
        let sum = 0
        for (const one of shown) sum += one.values[at] ?? 0
        high = Math.max(high, sum)
      } else {
        for (const one of shown) {
          const value = one.values[at]
          if (value !== null) [low, high] = [Math.min(low, value), Math.max(high, value)]
        }
      }
    }
    // A narrow band far from zero is looked at for its changes.
    if (!this.isBars && low === 0) {
      let floor = Infinity
      for (const one of shown) for (const value of one.values) if (value !== null) floor = Math.min(floor, value)
      if (Number.isFinite(floor) && floor > 0.6 * high) low = Math.max(0, floor - 0.5 * (high - floor))
    }
    for (const threshold of this.panel.thresholds) {
      if (threshold.value <= 4 * high || high === 0) high = Math.max(high, threshold.value)
    }
    if (this.isStacked && this.panel.unit === 'percent' && high <= 1.0001) return [0, 1]
    if (high === low) high = low + 1
    return [low < 0 ? low * 1.08 : low, high + (high - low) * 0.08]
  }

  extentLog() {
    let [low, high] = [Infinity, 0]
    for (const one of this.visible()) {
      for (const value of one.values) if (value > 0) [low, high] = [Math.min(low, value), Math.max(high, value)]
    }
    for (const threshold of this.panel.thresholds) [low, high] = [Math.min(low, threshold.value), Math.max(high, threshold.value)]
    if (!(low < Infinity)) return [0.1, 1]
    const most = this.panel.unit === 'p_value' ? 1 : Infinity
    return [10 ** Math.floor(Math.log10(low) - 0.01), Math.min(most, 10 ** Math.ceil(Math.log10(high) + 0.01))]
  }

  logSplits() {
    const [low, high] = this.extentLog().map((value) => Math.round(Math.log10(value)))
    const every = Math.max(1, Math.ceil((high - low) / 5))
    const splits = []
    for (let power = high; power >= low; power -= every) splits.unshift(10 ** power)
    return splits
  }

  /** Bars and cells, below the axes' labels and above the grid. */
  drawCells(plot) {
    if (!this.isBars && !this.isHeat) return
    const { ctx, bbox } = plot
    ctx.save()
    ctx.beginPath()
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
    ctx.clip()
    if (this.isHeat) this.drawHeat(plot, ctx)
    else this.drawBars(plot, ctx)
    ctx.restore()
  }

  drawBars(plot, ctx) {
    const { times, step, to } = this.data
    const shown = this.visible()
    const wide = plot.valToPos(times[0] + step, 'x', true) - plot.valToPos(times[0], 'x', true)
    const gap = wide > 8 * devicePixelRatio ? Math.max(devicePixelRatio, wide * 0.12) : wide > 3 ? devicePixelRatio * 0.5 : 0
    const zero = plot.valToPos(0, 'y', true)
    times.forEach((time, at) => {
      const left = plot.valToPos(time, 'x', true)
      // A step that is not over yet.
      ctx.globalAlpha = time + step > to + 1 ? 0.55 : 1
      let base = 0
      shown.forEach((one, place) => {
        const value = one.values[at]
        if (!value) return
        const part = this.isStacked ? wide - gap : (wide - gap) / shown.length
        const x = this.isStacked ? left + gap / 2 : left + gap / 2 + place * part
        const from = this.isStacked ? plot.valToPos(base, 'y', true) : zero
        const upTo = plot.valToPos(this.isStacked ? base + value : value, 'y', true)
        ctx.fillStyle = this.colors.get(one.name)
        ctx.fillRect(x, Math.min(from, upTo), Math.max(1, part), Math.max(Math.abs(from - upTo), 1))
        base += value
      })
    })
  }

  drawHeat(plot, ctx) {
    const { times, step } = this.data
    const most = Math.max(...this.classes.map((one) => Math.max(...one.values.map((value) => value ?? 0))))
    const accent = color('heat')
    const wide = plot.valToPos(times[0] + step, 'x', true) - plot.valToPos(times[0], 'x', true)
    const gap = wide > 5 * devicePixelRatio ? devicePixelRatio : 0
    this.classes.forEach((one, row) => {
      if (this.hidden.has(one.name)) return
      const bottom = plot.valToPos(row, 'y', true)
      const top = plot.valToPos(row + 1, 'y', true)
      times.forEach((time, at) => {
        const value = one.values[at]
        if (!value) return
        ctx.fillStyle = faded(accent, 0.08 + 0.92 * Math.sqrt(value / most))
        ctx.fillRect(plot.valToPos(time, 'x', true), top + devicePixelRatio, wide - gap, bottom - top - devicePixelRatio)
      })
    })
  }

  drawThresholds(plot) {
    const { ctx, bbox } = plot
    const [low, high] = [plot.scales.y.min, plot.scales.y.max]
    for (const threshold of this.panel.thresholds) {
      if (threshold.value < low || threshold.value > high) continue
      const y = Math.round(plot.valToPos(threshold.value, 'y', true)) + 0.5
      const stroke = color('level-' + threshold.level)
      ctx.save()
      ctx.strokeStyle = stroke
      ctx.lineWidth = devicePixelRatio
      ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio])
      ctx.beginPath()
      ctx.moveTo(bbox.left, y)
      ctx.lineTo(bbox.left + bbox.width, y)
      ctx.stroke()
      ctx.setLineDash([])
      ctx.font = `600 ${10 * devicePixelRatio}px ${color('font-sans')}`
      ctx.textAlign = 'right'
      ctx.textBaseline = threshold.below ? 'top' : 'bottom'
      const text = tick(threshold.value, this.panel.unit)
      const at = [bbox.left + bbox.width - 2 * devicePixelRatio, y + (threshold.below ? 3 : -3) * devicePixelRatio]
      ctx.strokeStyle = color('surface')
      ctx.lineWidth = 3 * devicePixelRatio
      ctx.lineJoin = 'round'
      ctx.strokeText(text, ...at)
      ctx.fillStyle = stroke
      ctx.fillText(text, ...at)
      ctx.restore()
    }
  }

  drawLegend() {
    const { unit } = this.panel
    if (this.isHeat || this.data.series.length === 0) return fill(this.legend)
    // Of things their number, of rates the mean, of anything else the last value.
    const isSum = this.isBars && ['count', 'tokens', 'usd', 'bytes'].includes(unit)
    const isRate = unit.startsWith('per_') || unit === 'usd_per_hour'
    const what = isSum ? 'total' : isRate ? 'mean' : 'last'
    const summary = (one) => {
      const values = one.values.filter((value) => value !== null)
      if (isSum) return number(one.total, unit)
      if (isRate) return number(values.length ? one.total / values.length : null, unit)
      return number(values.length ? values[values.length - 1] : null, unit)
    }
    const chips = this.data.series.map((one) => {
      const swatch = h('span', { class: 'swatch' })
      swatch.style.background = this.colors.get(one.name)
      return h(
        'button',
        {
          type: 'button',
          class: ['chip', this.hidden.has(one.name) && 'off'],
          title: `${one.name}\n${what} ${summary(one)}`,
          'aria-pressed': String(!this.hidden.has(one.name)),
          onclick: (event) => this.toggle(one.name, event.altKey || event.metaKey),
        },
        swatch,
        h('span', { class: 'chip-name' }, tail(one.name, 30)),
        h('span', { class: 'chip-value' }, summary(one)),
      )
    })
    fill(this.legend, chips)
  }

  /** Shows or hides a series; with `alone`, hides all others. */
  toggle(name, alone) {
    const names = this.data.series.map((one) => one.name)
    if (alone) {
      const isAlone = this.hidden.size === names.length - 1 && !this.hidden.has(name)
      this.hidden = new Set(isAlone ? [] : names.filter((other) => other !== name))
    } else if (this.hidden.has(name)) this.hidden.delete(name)
    else this.hidden.add(name)
    this.redraw()
  }

  /** The step and the series under a point of the plot. */
  under(plot, left, top) {
    const { times, step } = this.data
    const seconds = plot.posToVal(left, 'x')
    const at = Math.floor((seconds - times[0]) / step)
    if (at < 0 || at >= times.length) return null
    const value = plot.posToVal(top, 'y')
    let nearest = null
    if (this.isHeat) nearest = this.classes[Math.floor(value)] ?? null
    else if (this.isStacked) {
      let base = 0
      for (const one of this.visible()) {
        base += one.values[at] ?? 0
        if (one.values[at] && value <= base && nearest === null) nearest = one
      }
    } else {
      let best = Infinity
      for (const one of this.visible()) {
        if (one.values[at] === null) continue
        const distance = Math.abs(plot.valToPos(one.values[at], 'y') - top)
        if (distance < best) [best, nearest] = [distance, one]
      }
    }
    return { at, from: times[at], to: times[at] + step, series: nearest?.name ?? null }
  }

  listen(plot) {
    plot.over.addEventListener('mouseleave', () => (this.tip.hidden = true))
    plot.over.addEventListener('mousemove', () => (this.isByKeys = false))
    let down = null
    plot.over.addEventListener('mousedown', (event) => (down = event.clientX))
    plot.over.addEventListener('click', (event) => {
      if (down !== null && Math.abs(event.clientX - down) > 4) return
      const box = plot.over.getBoundingClientRect()
      const found = this.under(plot, event.clientX - box.left, event.clientY - box.top)
      if (found && this.onPick) this.onPick(found)
    })
    if (this.onPick) plot.over.classList.add('pickable')
  }

  /** A range that was dragged over becomes the range of the board. */
  select(plot) {
    const { left, width } = plot.select
    if (width < 8) return
    const from = plot.posToVal(left, 'x') * 1000
    const to = plot.posToVal(left + width, 'x') * 1000
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
    this.onRange?.(from, to)
  }

  describe() {
    const names = this.data.series.map((one) => one.name).join(', ')
    return `Chart of ${names}. Arrows move through it${this.onPick ? ', Enter opens what is behind a value' : ''}.`
  }

  /** Arrows move as a pointer would: through the steps, and through the series of one. */
  press(event) {
    if (!this.plot || event.ctrlKey || event.metaKey || event.altKey) return
    const { times, step } = this.data
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], Home: [-times.length, 0], End: [times.length, 0] }
    const move = moves[event.key]
    if (event.key === 'Escape') this.leave()
    if (event.key === 'Enter' && this.found && this.onPick) {
      event.preventDefault()
      return this.onPick(this.found)
    }
    if (!move) return
    event.preventDefault()
    const before = this.found?.at ?? (move[0] < 0 ? times.length : -1)
    const at = Math.min(times.length - 1, Math.max(0, before + move[0]))
    const places = this.placesOf(at)
    let place = places.findIndex((one) => one.name === this.found?.series)
    if (places.length > 0) place = Math.min(places.length - 1, Math.max(0, place + move[1]))
    this.isByKeys = true
    this.plot.setCursor({ left: this.plot.valToPos(times[at] + step / 2, 'x'), top: places[place]?.top ?? this.plot.over.clientHeight / 2 })
  }

  /** Where the series of a step are drawn, from below. */
  placesOf(at) {
    const top = (value) => this.plot.valToPos(value, 'y')
    if (this.isHeat) return this.classes.map((one, row) => ({ name: one.name, has: one.values[at], top: top(row + 0.5) })).filter((one) => one.has)
    let base = 0
    const places = []
    for (const one of this.visible()) {
      const value = one.values[at]
      if (value === null || (this.isStacked && !value)) continue
      places.push({ name: one.name, top: top(this.isStacked ? base + value / 2 : value) })
      base += value
    }
    return places.sort((a, b) => b.top - a.top)
  }

  leave() {
    this.isByKeys = false
    this.found = null
    this.tip.hidden = true
    this.plot?.setCursor({ left: -10, top: -10 })
  }

  point(plot) {
    const { left, top } = plot.cursor
    const isOver = left >= 0 && (this.isByKeys || plot.over.matches(':hover'))
    if (!isOver) return void (this.tip.hidden = true)
    const found = this.under(plot, left, top)
    this.found = found
    if (!found) return void (this.tip.hidden = true)
    const { unit } = this.panel
    const shown = this.isHeat ? [...this.classes].reverse() : this.visible()
    const lines = shown
      .filter((one) => one.values[found.at])
      .map((one) => {
        const swatch = h('span', { class: 'swatch' })
        swatch.style.background = this.isHeat ? color('heat') : this.colors.get(one.name)
        return h(
          'div',
          { class: ['tip-line', one.name === found.series && 'near'] },
          swatch,
          h('span', { class: 'tip-name' }, tail(one.name, 40)),
          h('span', { class: 'tip-value' }, number(one.values[found.at], unit)),
        )
      })
    const time = new Date(found.from * 1000)
    const isSum = this.isStacked && !['percent'].includes(unit) && lines.length > 1
    const total = isSum && shown.reduce((sum, one) => sum + (one.values[found.at] ?? 0), 0)
    fill(
      this.tip,
      h('div', { class: 'tip-time' }, `${day(time)} ${clock(time, this.data.step < 60)}`, h('span', null, ' + ' + span(this.data.step))),
      lines.length ? lines : h('div', { class: 'tip-line' }, 'nothing'),
      isSum && h('div', { class: 'tip-line tip-total' }, h('span', { class: 'tip-name' }, 'all'), h('span', { class: 'tip-value' }, number(total, unit))),
    )
    this.tip.hidden = false
    const offset = plot.over.offsetLeft + left
    const isRight = offset > this.width * 0.55
    const x = isRight ? offset - this.tip.offsetWidth - 14 : offset + 14
    this.tip.style.transform = `translate(${Math.round(Math.max(0, x))}px, ${Math.round(Math.max(0, Math.min(top - 10, this.tall - this.tip.offsetHeight)))}px)`
  }
}
