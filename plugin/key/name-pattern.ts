// Which names a template can make, whatever the values: to tell whether a name is one of them, and whether two templates
// can make the same one.
import type { TemplatePart } from './key.js'

/** A template's texts, and null for each value. */
export interface NamePattern {
  /** As its author wrote it. */
  written: string
  parts: ReadonlyArray<string | null>
  regexp: RegExp
}

/** The characters of a value's text: see key-value.ts. */
const OF_VALUES = /[\w.!~*'()%,[\]=-]/

export function patternOf (written: string, template: readonly TemplatePart[]): NamePattern {
  const parts = template.map((part) => (typeof part === 'string' ? part : null))
  const texts = parts.map((part) => part === null ? `${OF_VALUES.source}*` : part.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'))
  return { written, parts, regexp: new RegExp(`^${texts.join('')}$`) }
}

/** Whether the template can make this name. */
export function canMake ({ parts, regexp }: NamePattern, name: string): boolean {
  const [first] = parts
  return (first == null || name.startsWith(first)) && regexp.test(name)
}

/** Whether there is a name that both can make. */
export function canMeet (one: NamePattern, other: NamePattern): boolean {
  const [a, b] = [charactersOf(one), charactersOf(other)]
  // `next[j]`: whether the rests of `a` from place i and of `b` from place j can be the same, from the ends to the
  // beginnings. Of `a` nothing is left at first, so all that is left of `b` must be values.
  const lastText = b.findLastIndex((char) => char !== null)
  let next = Array.from({ length: b.length + 1 }, (_, j) => j > lastText)
  for (let i = a.length - 1; i >= 0; i--) {
    const now: boolean[] = Array.from({ length: b.length + 1 }, () => false)
    now[b.length] = a[i] === null && next[b.length]!
    for (let j = b.length - 1; j >= 0; j--) {
      const [x, y] = [a[i]!, b[j]!]
      if (x === null) now[j] = next[j]! || (y === null ? now[j + 1]! : OF_VALUES.test(y) && now[j + 1]!)
      else if (y === null) now[j] = now[j + 1]! || (OF_VALUES.test(x) && next[j]!)
      else now[j] = x === y && next[j + 1]!
    }
    next = now
  }
  return next[0]!
}

/** Its characters one by one, and null for any value's. */
function charactersOf ({ parts }: NamePattern): Array<string | null> {
  return parts.flatMap((part) => part === null ? [null] : [...part])
}

/** Whether two templates are most likely meant to be one: up to two characters of their texts differ. */
export function isMisspelt (one: NamePattern, two: NamePattern): boolean {
  const [text, other] = [one, two].map(({ parts }) => parts.map((part) => part ?? '{}').join('')) as [string, string]
  const most = Math.min(2, Math.floor(Math.max(text.length, other.length) / 4))
  if (Math.abs(text.length - other.length) > most) return false
  return distance(text, other) <= most
}

/** Levenshtein's: how many characters must be put in, left out or replaced. */
function distance (text: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, j) => j)
  for (let i = 1; i <= text.length; i++) {
    const next = [i]
    for (let j = 1; j <= other.length; j++) {
      const replaced = row[j - 1]! + (text[i - 1] === other[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[other.length]!
}
