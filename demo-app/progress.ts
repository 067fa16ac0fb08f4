// How far a long job is: a bar on a terminal, two plain lines elsewhere (a log file has no use for a hundred).

export interface Progress {
  update (done: number): void
  end (): void
}

const width = 30

/** Shows `done` of `total` on stderr, which keeps stdout for the address. */
export function showProgress (title: string, total: number): Progress {
  const { stderr } = process
  const startedAt = performance.now()
  const took = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
  if (!stderr.isTTY) {
    stderr.write(`${title} ...\n`)
    return { update () {}, end: () => { stderr.write(`${title}: done in ${took()}\n`) } }
  }
  const draw = (done: number) => {
    const filled = Math.round(width * done / total)
    const percent = `${Math.floor(100 * done / total)}`.padStart(3)
    stderr.write(`\r${title} [${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${percent} %`)
  }
  draw(0)
  return { update: draw, end: () => { stderr.write(`\r\x1b[2K${title}: done in ${took()}\n`) } }
}
