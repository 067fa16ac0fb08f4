// Requests and hit rate of the last quarter of an hour, drawn, and in words.
/* global document, getComputedStyle, matchMedia, window, ResizeObserver */
import { counted, number, percent } from './elements.js'

const place = () => document.getElementById('curve')

let chart = null
let drawn = null
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { chart?.destroy(); chart = null; if (drawn) showCurve(drawn) })
new ResizeObserver(() => { chart?.setSize(room()) }).observe(place())

function room () {
  return { width: place().clientWidth, height: 200 }
}

export function showCurve (curve) {
  drawn = curve
  const { at, hits, misses, bypasses, step } = curve
  const rates = at.map((_, i) => hits[i] + misses[i] === 0 ? null : 100 * hits[i] / (hits[i] + misses[i]))
  const requests = at.map((_, i) => (hits[i] + misses[i] + bypasses[i]) / step)
  const data = [at, requests, rates]
  if (chart === null) chart = draw(data)
  else chart.setData(data)
  document.getElementById('curve-text').textContent = inWords(curve)
}

/** For who can't see it. */
function inWords ({ at, hits, misses, bypasses, step }) {
  const sum = (list) => list.reduce((sum, n) => sum + n, 0)
  const [h, m, b] = [sum(hits), sum(misses), sum(bypasses)]
  if (h + m + b === 0) return 'No requests in this time.'
  const most = Math.max(...at.map((_, i) => hits[i] + misses[i] + bypasses[i])) / step
  return `${counted(h + m + b, 'request')} in this time, at most ${number(Math.ceil(most))} in a second: ${counted(h, 'hit')}, ` +
    `${counted(m, 'miss', 'misses')}, ${number(b)} bypassed. ` +
    (h + m === 0 ? '' : `Hit rate ${percent(h / (h + m))}.`)
}

function draw (data) {
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const line = { stroke: color('--line'), width: 1 }
  const axis = { stroke: color('--quiet'), grid: line, ticks: line }
  const perSecond = (n) => n >= 100 ? number(Math.round(n)) : String(+n.toFixed(1))
  const { uPlot: Chart } = window
  return new Chart({
    ...room(),
    cursor: { y: false },
    scales: {
      x: { time: true },
      percent: { range: [0, 100] },
      requests: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] }
    },
    axes: [
      axis,
      { ...axis, scale: 'requests', size: 56, values: (_, all) => all.map(perSecond) },
      { ...axis, scale: 'percent', side: 1, size: 56, grid: { show: false }, values: (_, all) => all.map((n) => `${n} %`) }
    ],
    series: [
      { value: (_, at) => at === null ? '–' : new Date(at * 1000).toLocaleTimeString() },
      {
        label: 'requests in a second',
        scale: 'requests',
        stroke: color('--rate'),
        fill: `${color('--rate')}22`,
        width: 1.5,
        points: { show: false },
        value: (_, n) => n === null ? '–' : perSecond(n)
      },
      {
        label: 'hit rate',
        scale: 'percent',
        stroke: color('--hit'),
        width: 2,
        spanGaps: true,
        points: { show: true, size: 4 },
        value: (_, n) => n === null ? '–' : `${n.toFixed(0)} %`
      }
    ]
  }, data, place())
}
