// A table of any number of items: a page of them at a time, sorted by a column, so that the document stays small. Head and
// buttons stay, and so does the row of an item that is shown again: nothing moves under a pointer, or takes the focus away.
/* global document */
import { element, number } from './elements.js'

/** Columns: `{ name, cell, by, isNumber, isWide }`. `cell(item)` gives its content, `by(item)` what it is sorted by. */
export class List {
  #place
  #columns
  #keyOf
  #size
  #none
  #items = []
  #from = 0
  #sort
  #rows = new Map()
  #parts

  constructor (place, { label, columns, keyOf, size = 25, sort = null, none }) {
    this.#place = place
    this.#columns = columns
    this.#keyOf = keyOf
    this.#size = size
    this.#none = none
    this.#sort = sort === null ? null : { name: sort, isDown: true }
    this.#parts = this.#build(label)
    this.update([])
  }

  /** From now on these are its items. */
  update (items) {
    this.#items = items
    this.#draw()
  }

  /** What is sorted by, for a choice elsewhere on the page. */
  get sorts () {
    return this.#columns.filter(({ by }) => by !== undefined).map(({ name }) => name)
  }

  sortBy (name, isDown = this.#columns.find((column) => column.name === name).isNumber === true) {
    this.#sort = { name, isDown }
    this.#from = 0
    this.#draw()
  }

  #build (label) {
    const heads = this.#columns.map((column) => element('th', {
      scope: 'col', role: 'columnheader', class: column.isNumber ? 'number' : null
    }, column.by === undefined ? column.name : this.#sorter(column)))
    const body = element('tbody', { role: 'rowgroup' })
    const rows = element('div', { class: 'rows' }, element('table', { class: 'cards', role: 'table', 'aria-label': label },
      element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, ...heads)), body))
    const empty = element('p', { class: 'rows empty' }, this.#none)
    const step = (by) => () => { this.#from += by * this.#size; this.#draw() }
    const before = element('button', { type: 'button', class: 'small', onclick: step(-1) }, 'Previous')
    const next = element('button', { type: 'button', class: 'small', onclick: step(1) }, 'Next')
    const which = element('span', { class: 'quiet' })
    const pager = element('div', { class: 'pager', role: 'group', 'aria-label': `${label}: pages` }, before, which, next)
    this.#place.replaceChildren(rows, empty, pager)
    return { heads, body, rows, empty, before, next, which, pager }
  }

  #sorter ({ name, isNumber = false }) {
    return element('button', {
      type: 'button',
      class: 'sort',
      onclick: () => {
        const isSame = this.#sort?.name === name
        this.sortBy(name, isSame ? !this.#sort.isDown : isNumber)
      }
    }, name)
  }

  #draw () {
    const { heads, body, rows, empty, before, next, which, pager } = this.#parts
    const all = this.#items.length
    this.#from = Math.max(0, Math.min(this.#from, Math.floor((all - 1) / this.#size) * this.#size))
    const to = Math.min(all, this.#from + this.#size)
    heads.forEach((head, i) => {
      const isIt = this.#columns[i].name === this.#sort?.name
      if (isIt) head.setAttribute('aria-sort', this.#sort.isDown ? 'descending' : 'ascending')
      else head.removeAttribute('aria-sort')
    })
    rows.hidden = all === 0
    empty.hidden = all > 0
    pager.hidden = all <= this.#size
    before.disabled = this.#from === 0
    next.disabled = to === all
    which.textContent = `${number(this.#from + 1)} to ${number(to)} of ${number(all)}`
    this.#fill(body, this.#sorted().slice(this.#from, to))
  }

  #sorted () {
    const column = this.#columns.find(({ name }) => name === this.#sort?.name)
    if (column === undefined) return this.#items
    const sign = this.#sort.isDown ? -1 : 1
    return [...this.#items].sort((one, other) => {
      const [a, b] = [column.by(one), column.by(other)]
      // What has no value comes last, either way.
      if (a === null || b === null) return Number(a === null) - Number(b === null)
      return sign * (typeof a === 'string' ? a.localeCompare(b) : a - b)
    })
  }

  #fill (body, items) {
    const focused = document.activeElement
    const rows = new Map(items.map((item) => {
      const key = this.#keyOf(item)
      const row = this.#rows.get(key) ?? element('tr', { role: 'row' })
      this.#cellsOf(item).forEach((cell, i) => {
        const present = row.children[i]
        if (present === undefined) row.append(cell)
        else if (present.outerHTML !== cell.outerHTML) present.replaceWith(cell)
      })
      return [key, row]
    }))
    this.#rows = rows
    const order = [...rows.values()]
    if (order.length === body.children.length && order.every((row, i) => row === body.children[i])) return
    body.replaceChildren(...order)
    if (body.contains(focused)) focused.focus({ preventScroll: true })
  }

  #cellsOf (item) {
    return this.#columns.map(({ name, cell, isNumber, isWide }, i) => i === 0
      ? element('th', { scope: 'row', role: 'rowheader' }, cell(item))
      : element('td', { role: 'cell', 'data-label': name, class: isNumber ? 'number' : isWide ? 'wide' : null }, cell(item)))
  }
}
