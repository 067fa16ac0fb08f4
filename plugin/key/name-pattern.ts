// Which names a template can make, whatever the values: to tell whether a name is one of them, and whether two templates
// can make the same one.
import type { Placeholder, TemplatePart } from './key.js'

/** A template's texts, and for each value the characters that its text can have. */
export interface NamePattern {
  /** As its author wrote it. */
  written: string
  parts: ReadonlyArray<string | RegExp>
  regexp: RegExp
}

/** The characters of a value's text: see key-value.ts. */
const OF_VALUES = /[\w.!~*'()%,[\]=-]/
const OF_NUMBERS = /[\d.-]/
/** Longer names are not compared with each other. */
const LONGEST = 200

/** `isNumber`: which placeholders only numbers fill, as the route's schema says. Default: none. */
export function patternOf (
  written: string, template: readonly TemplatePart[], isNumber: (place: Placeholder) => boolean = () => false
): NamePattern {
  const parts = template.map((part) => typeof part === 'string' ? part : isNumber(part) ? OF_NUMBERS : OF_VALUES)
  const texts = parts.map((part) => typeof part === 'string' ? part.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&') : `${part.source}*`)
  return { written, parts, regexp: new RegExp(`^${texts.join('')}$`) }
}

/** The text in front of the first value. */
function headOf ({ parts: [first] }: NamePattern): string {
  return typeof first === 'string' ? first : ''
}

/** Whether the template can make this name. */
export function canMake (pattern: NamePattern, name: string): boolean {
  return name.startsWith(headOf(pattern)) && pattern.regexp.test(name)
}

/** Whether there is a name that both can make. Of very long templates it is not found out: false. */
export function canMeet (one: NamePattern, other: NamePattern): boolean {
  const [head, its] = [headOf(one), headOf(other)]
  if (!head.startsWith(its) && !its.startsWith(head)) return false
  const [a, b] = [charactersOf(one), charactersOf(other)]
  if (a.length > LONGEST || b.length > LONGEST) return false
  // `next[j]`: whether the rests of `a` from place i and of `b` from place j can be the same, from the ends to the
  // beginnings. Of `a` nothing is left at first, so all that is left of `b` must be values.
  const lastText = b.findLastIndex((char) => typeof char === 'string')
  let next = Array.from({ length: b.length + 1 }, (_, j) => j > lastText)
  for (let i = a.length - 1; i >= 0; i--) {
    const x = a[i]!
    const now: boolean[] = Array.from({ length: b.length + 1 }, () => false)
    now[b.length] = typeof x !== 'string' && next[b.length]!
    for (let j = b.length - 1; j >= 0; j--) {
      const y = b[j]!
      if (typeof x !== 'string') now[j] = next[j]! || (now[j + 1]! && (typeof y !== 'string' || x.test(y)))
      else if (typeof y !== 'string') now[j] = now[j + 1]! || (next[j]! && y.test(x))
      else now[j] = x === y && next[j + 1]!
    }
    next = now
  }
  return next[0]!
}

/** Its characters one by one, and for each value those that it can have. */
function charactersOf ({ parts }: NamePattern): Array<string | RegExp> {
  return parts.flatMap((part): Array<string | RegExp> => typeof part === 'string' ? [...part] : [part])
}

/** The beginning of a name, up to the first character that no value has: `user:` of `user:7`. */
export function beginningOf (name: string): string {
  for (let i = 0; i < name.length; i++) if (!OF_VALUES.test(name[i]!)) return name.slice(0, i + 1)
  return name
}

/** Whether two templates are most likely meant to be one. */
export function isMisspelt (one: NamePattern, other: NamePattern): boolean {
  return areNear(shapeOf(one), shapeOf(other))
}

/** Whether a name is most likely meant to be one that the template makes. */
export function isMisspeltName (pattern: NamePattern, name: string): boolean {
  const isWhole = pattern.parts.every((part) => typeof part === 'string')
  return areNear(isWhole ? name : beginningOf(name), isWhole ? shapeOf(pattern) : beginningOf(shapeOf(pattern)))
}

function shapeOf ({ parts }: NamePattern): string {
  return parts.map((part) => typeof part === 'string' ? part : '{}').join('')
}

/** One character in four differs, two at most. Singular and plural are different names: apps have both. */
function areNear (text: string, other: string): boolean {
  const letters = Math.max(text.length, other.length) - (text.split('{}').length - 1) * '{}'.length
  const most = Math.min(2, Math.floor(letters / 4))
  if (text.length > LONGEST || Math.abs(text.length - other.length) > most) return false
  return singular(text) !== singular(other) && distance(text, other) <= most
}

function singular (text: string): string {
  return text.replaceAll(/s(?!\w)/g, '')
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
