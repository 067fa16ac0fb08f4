// What the processes are told.
export interface Place {
  prefix: string
  nodes: Array<{ host: string, port: number }>
  cluster: boolean
}

export interface Call { do: 'begin' | 'write' | 'read' | 'end', lanes: string[] }

/** The targets of one invalidation. */
export interface Named { keys: string[], tags: string[] }
