// What a command is given, and what it tells.
import type { CommandConnection } from './connection.js'
import type { Given } from './given.js'

/** What a command has to work with. */
export interface CommandWork {
  given: Given
  /** The words behind the command's name. */
  words: readonly string[]
  connection: CommandConnection
}

/** In words, and as data. `code`: 0 where it is absent. */
export interface CommandTold {
  text: string
  data: unknown
  code?: 0 | 1
}
